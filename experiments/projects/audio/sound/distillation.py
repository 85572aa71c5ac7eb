"""A WaveNet of notes with normal conditionals, and students that draw all samples of a note at once.

    python -m experiments.projects.audio.sound.distillation --num=32      # 18 CPU minutes

The teacher and the students are given the log-mel spectrogram of a note. Each student is an inverse autoregressive
flow. It is trained on the closed-form divergence from the teacher, or on this and a distance from the note of the
spectrogram, of the power of each frequency over time. Prints, for held-out notes, the divergence from the
teacher and the loudness and spectra of what is drawn; and how loud the teacher is at lower temperatures, for notes that
are noise and notes that are tones.
"""

import time
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from experiments import data
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.data.dataset import evenly, preprocess, rows_of
from experiments.data.sounds import SILENCE
from experiments.projects.audio.configs import vocoder_flow
from experiments.reporting.tables import Table, tables_as_text
from scorekit import audio, autoregressive
from scorekit.networks import CausalWaveNet, flows
from scorekit.typing import Array, Key, PyTree

_SEED = shared.seed()
_NUM = shared.count("num", 20, "Number of held-out notes.", 2)
_UPDATES = shared.count("updates", 600, "Steps of training of each network.")

LENGTH, HOP, BATCH = 1024, 64, 8
LEARNING_RATE, REGULARISATION = 2e-3, 4.0
STUDENTS = {"divergence": False, "divergence and power": True}
"""Whether the distance of power is added to the divergence, in nats a sample."""
TEMPERATURES = (1.0, 0.7, 0.5, 0.3, 0.1)
"""Of the variance of each sample given those before."""
Loss = Callable[[PyTree, Key, Array, Array], Array]


def teacher_loss(network: CausalWaveNet, params: PyTree, key: Key, x: Array, rows: Array) -> Array:
    """Nats a sample."""
    model = autoregressive.model_from_network(network, params, autoregressive.Normal(), dense_map=rows)
    return -autoregressive.log_prob(model, x).mean() / x.shape[1]


def power_distance(y: Array, x: Array) -> Array:
    """The squared difference of the power of all frequencies, averaged over time, relative to the second, ``(B,)``.

    Source: van den Oord et al. 2018, the power loss of Parallel WaveNet (https://arxiv.org/abs/1711.10433).
    """
    window = audio.hann(256)
    floor = (window.sum() * SILENCE) ** 2
    power = lambda s: jnp.mean(audio.magnitude(audio.stft(s[..., 0], window, HOP)) ** 2, axis=-2)
    return jnp.sum(jnp.square(power(y) - power(x)), axis=-1) / (jnp.sum(jnp.square(power(x)), axis=-1) + floor**2)


def student_loss(
    network: flows.AutoregressiveFlow, teacher: CausalWaveNet, teacher_params: PyTree, power: bool
) -> Loss:
    """The divergence in nats a sample, and with ``power`` a distance from the sound of the same spectrogram."""

    def loss(params, key, x, rows):
        model = autoregressive.model_from_network(teacher, teacher_params, autoregressive.Normal(), dense_map=rows)
        z = jax.random.normal(key, x.shape)
        drawn, log_scale = cast(Any, network).apply(params, z, None, None, rows, method="scales")
        nats = autoregressive.density_distillation_loss(model, drawn, z, log_scale, REGULARISATION).mean()
        return nats / x.shape[1] + (power_distance(drawn, x).mean() if power else 0.0)

    return loss


def fit(loss: Loss, params: PyTree, batches: Callable[[int], tuple[Array, Array]], steps: int, label: str) -> PyTree:
    """Parameters after so many steps of Adam, with a bar of progress."""
    rate = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, max(steps // 10, 1), steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    @jax.jit
    def step(params, state, key, x, rows):
        updates, state = optimizer.update(jax.grad(loss)(params, key, x, rows), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    with progress.Progress(steps, batch_size=BATCH, label=label) as bar:
        for i in range(steps):
            params, state = step(params, state, jax.random.key(i), *batches(i))
            bar.update(1 + i)
    return params


def loudness(x: Array) -> Array:
    """The power of each sound, in dB."""
    return 10 * jnp.log10(jnp.mean(x**2, axis=-1) + 1e-12)


def audible(x: Array) -> Array:
    """Whether a note is counted, which has to be louder than silence."""
    return loudness(x) > 20 * np.log10(SILENCE)


def measure(drawn: Array, truth: Array, rate: int) -> list[float]:
    """Loudness relative to the truth in dB, log-spectral distance in dB and the loss of the spectra: means of notes."""
    distances = (each(drawn, truth, rate) for each in (audio.log_spectral_distance, audio.multi_resolution_stft_loss))
    values = loudness(drawn) - loudness(truth), *distances
    return [float(jnp.mean(each, where=audible(truth))) for each in values]


def flatness(x: Array) -> Array:
    """The geometric over the arithmetic mean of the power of each spectrum: 0 for a tone, 0.56 for white noise."""
    power = jnp.abs(jnp.fft.rfft(x * jnp.hanning(x.shape[-1]))) ** 2
    return jnp.exp(jnp.mean(jnp.log(power + 1e-12), axis=-1)) / (jnp.mean(power, axis=-1) + 1e-12)


def by_temperature(draw: Callable[[float], Array], truth: Array, rate: int) -> Table:
    """Loudness of what is drawn at each temperature for the quarters of the notes that are least and most flat."""
    order = np.argsort(flatness(truth))
    order = order[np.asarray(audible(truth))[order]]
    quarter = max(len(order) // 4, 1)
    parts = {"tones": order[:quarter], "noise": order[-quarter:]}
    levels = {name: float(flatness(truth[part]).mean()) for name, part in parts.items()}
    rows = []
    for temperature in TEMPERATURES:
        drawn = draw(temperature)[..., 0]
        measured = [measure(drawn[part], truth[part], rate)[:2] for part in parts.values()]
        rows.append([f"temperature {temperature:g}", *(value for pair in measured for value in pair)])
    header = ["teacher", *(f"{name}: {value} (dB)" for name in parts for value in ("loudness", "LSD"))]
    flat = ", ".join(f"{name} {level:.2g}" for name, level in levels.items())
    return Table(header, rows, f"{quarter} notes each, of the spectral flatness {flat}; loudness over the notes")


def main(_) -> None:
    config = vocoder_flow.get_config()
    config.data.crop = LENGTH
    dataset: Any = data.build(config)
    features = jax.jit(dataset.maps["log_mel"](dataset, hop=HOP))

    def given(part):
        batch = preprocess(dataset, part)
        return batch["x"], jnp.repeat(features({"raw": batch["raw"]}), HOP, axis=1)[:, :LENGTH]

    batches = lambda i: given(dataset.batch(_SEED.value, i, BATCH))
    x, rows = given(rows_of(dataset.test, evenly(len(dataset.test["x"]), _NUM.value)))
    small: Any = {"channels": 32, "cycle": 8, "map_size": rows.shape[-1]}
    teacher = CausalWaveNet(outputs=2, layers=16, **small)
    student = flows.AutoregressiveFlow(parallel="sampling", alternate=False, layers=2, depth=8, **small)  # sees as far
    start = jax.jit(teacher.init)(jax.random.key(_SEED.value), x, dense_map=rows)
    began = time.process_time()
    trained = fit(Partial(teacher_loss, teacher), start, batches, _UPDATES.value, "teacher")
    model = autoregressive.model_from_network(teacher, trained, autoregressive.Normal(), dense_map=rows)

    @jax.jit
    def draw(temperature):
        cooler = lambda outputs: outputs + jnp.stack([0.0, 0.5 * jnp.log(temperature)])  # of means and log std
        return autoregressive.sample(jax.random.key(_SEED.value), model, *x.shape[:2], transform=cooler)

    truth, rate = x[..., 0], dataset.sample_rate
    line = lambda drawn, divergence: [divergence, *measure(drawn[..., 0], truth, rate), time.process_time() - began]
    table = [["teacher", float(teacher_loss(teacher, trained, start, x, rows)), *line(draw(1.0), None)]]
    z = jax.random.normal(jax.random.key(1 + _SEED.value), x.shape)
    for name, power in STUDENTS.items():
        began = time.process_time()
        start = jax.jit(Partial(student.init, dense_map=rows))(jax.random.key(_SEED.value), z)
        params = fit(student_loss(student, teacher, trained, power), start, batches, _UPDATES.value, name)
        drawn, log_scale = jax.jit(Partial(student.apply, method="scales"))(params, z, None, None, rows)
        divergence = autoregressive.density_distillation_loss(model, drawn, z, log_scale).mean() / LENGTH
        table.append([f"student, {name}", None, *line(drawn, float(divergence))])
    header = ["", "nats a sample", "divergence", "loudness (dB)", "LSD (dB)", "MR-STFT loss", "CPU s"]
    caption = f"{_UPDATES.value} steps each; {len(x)} held-out notes of {LENGTH / rate:.3f} s; loudness over the notes"
    print(tables_as_text([Table(header, table, caption), by_temperature(draw, truth, rate)]))


if __name__ == "__main__":
    command_line.run(main)
