"""Waveforms of held-out sounds from their mel spectrograms, by a trained vocoder and by Griffin and Lim's iteration.

    python -m experiments.projects.audio.sound.vocode --workdir=runs/vocoder
    python -m experiments.projects.audio.sound.vocode --workdir=runs/vocoder --steps=4,6,12,100 --num=100

The model is conditioned on the log-mel spectrograms of full sounds and on nothing else. Both start from the same mel
spectrograms: Griffin-Lim from the non-negative magnitudes nearest to them, a diffusion from the same noise for every
number of steps, a flow in one pass; the last of ``--steps`` is the full sampling that the others are compared with.
Prints a table, and writes ``vocoder.html`` with audio widgets, ``vocoder.json`` and the sounds into
``workdir/vocoder``.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, require
from experiments.cli.outputs import write_results
from experiments.data import for_full_sounds
from experiments.data.dataset import evenly, preprocess, rows_of
from experiments.data.sounds import Sounds
from experiments.models.conditioning import conditions
from experiments.projects.audio.sound.runs import check_results, open_sounds, write_sound_report
from experiments.reporting.tables import Table
from experiments.tasks.diffusion.build import at_steps, make_sampler
from experiments.tasks.task import facts
from scorekit import audio
from scorekit.typing import Array

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a vocoder's config.")
_STEP, _SEED = shared.step(), shared.seed("Seed of the noise, and of Griffin-Lim's phases.")
_STEPS = flags.DEFINE_list("steps", "6,100", "Numbers of sampling steps; the last is the full sampling.")
_NUM = shared.count("num", 64, "Number of held-out sounds, evenly from the test set.")
_SHOWN = shared.count("shown", 6, "Number of sounds with audio widgets.")
ITERATIONS = 60
"""Of Griffin and Lim."""


def griffin_lim(key, features: audio.LogMel, encoded: Array, length: int) -> Array:
    """Sounds from log-mel spectrograms without a model."""
    magnitudes = audio.magnitude_from_mel(features.mel(encoded), features.bank)
    return audio.griffin_lim(key, magnitudes, features.window, features.hop, length, iterations=ITERATIONS).x


def real_time_factor(make, seconds: float) -> float:
    """The shortest time of three runs after one that compiles, over the length of the sound."""
    jax.block_until_ready(make())
    times = []
    for _ in range(3):
        begin = time.monotonic()
        jax.block_until_ready(make())
        times.append(time.monotonic() - begin)
    return min(times) / seconds


def compare(sounds: dict[str, np.ndarray], truth: np.ndarray, rate: int, full: str, factors: dict[str, float]) -> Table:
    """Both distances of every version to the truth and to the version ``full``, means over sounds."""
    lsd = jax.jit(lambda x, y: audio.log_spectral_distance(x, y, rate).mean())
    loss = jax.jit(lambda x, y: audio.multi_resolution_stft_loss(x, y, rate).mean())
    rows = []
    for name, x in sounds.items():
        to_full = (None, None) if name == full else (float(lsd(x, sounds[full])), float(loss(x, sounds[full])))
        rows.append([name, float(lsd(x, truth)), float(loss(x, truth)), *to_full, factors.get(name)])
    header = ["", "LSD (dB)", "MR-STFT loss", "LSD to full (dB)", "MR-STFT loss to full", "real-time factor"]
    caption = (
        f"means over {len(truth)} held-out sounds at {rate} Hz; full is {full}; the real-time factor is the time of "
        f"one sound over its length, below 1 faster than it plays"
    )
    return Table(header, rows, caption)


def main(config: Config) -> Path:
    workdir = check_results(Sounds, config, _WORKDIR.value)
    of_flow, name = config.task == "flow", config.conditions.map.name
    steps = [] if of_flow else shared.step_counts("steps", _STEPS.value, "6,100")
    allowed = "log_mel or mel_magnitudes, which a vocoder is given"
    require(name in ("log_mel", "mel_magnitudes"), "conditions.map.name", name, allowed)
    run = open_sounds(for_full_sounds(config), workdir, _STEP.value)
    dataset, seed = run.dataset, _SEED.value
    part = rows_of(dataset.test, evenly(len(dataset.test["x"]), _NUM.value))
    given = jax.tree.map(np.asarray, conditions(run.model, preprocess(dataset, part)))
    truth, rate = dataset.real(part), dataset.sample_rate
    fields = {field: value for field, value in config.conditions.map.items() if field != "name" and value is not None}
    features, seconds = audio.make_log_mel(rate, **fields), truth.shape[1] / rate
    print(f"{len(truth)} held-out sounds of {seconds:.3f} s with step {run.step:,} …", flush=True)

    lim = f"Griffin-Lim, {ITERATIONS} iterations"
    at = lambda count: make_sampler(at_steps(config, count), run.model, dataset, run.extras)
    samplers = {"flow": run.generate} if of_flow else {f"{count} steps": at(count) for count in steps}
    with progress.Progress(1 + len(samplers), batch_size=len(truth), label="vocode") as bar:
        encoded = features.encode(jnp.asarray(truth))
        phases = jax.jit(lambda encoded: griffin_lim(jax.random.key(seed), features, encoded, truth.shape[1]))
        sounds = {lim: np.asarray(phases(encoded))}
        factors = {lim: real_time_factor(lambda: phases(encoded[:1]), seconds)}
        bar.update(1)
        for i, (full, generate) in enumerate(samplers.items()):
            sounds[full] = generate(run.params, seed, given, 1.0)
            one = jax.tree.map(lambda leaf: leaf[:1], given)
            factors[full] = real_time_factor(lambda g=generate, o=one: g(run.params, 0, o, 1.0), seconds)
            bar.update(2 + i)
        sounds[f"{full}, other noise"] = generate(run.params, seed + 1, given, 1.0)
    table, out = compare(sounds, truth, rate, full, factors), workdir / "vocoder"
    write_results(
        out / "vocoder.json", {row: dict(zip(table.header[1:], cells, strict=True)) for row, *cells in table.rows}
    )
    rows, summary = [*evenly(len(truth), _SHOWN.value)], {**facts(run), "seed": seed, "map": name}
    shown = {version: x[rows] for version, x in {"held out": truth, **sounds}.items()}
    return write_sound_report(out / "vocoder.html", "scorekit: vocoder", summary, [table], shown, rate, row_labels=rows)


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value, "diffusion", "flow"), tasks.check_fields)
