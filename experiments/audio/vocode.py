"""Waveforms of held-out sounds from their mel spectrograms, by a trained vocoder and by Griffin and Lim's iteration.

    python -m experiments.audio.vocode --workdir=runs/vocoder
    python -m experiments.audio.vocode --workdir=runs/vocoder --steps=4,6,12,100 --num=100

The model is conditioned on the log-mel spectrograms of full sounds and on nothing else. Both start from the same mel
spectrograms: Griffin-Lim from the non-negative magnitudes nearest to them, the model from the same noise for every
number of steps; the last of ``--steps`` is the full sampling that the others are compared with. Prints a table, and
writes ``vocoder.html`` with audio widgets, ``vocoder.json`` and the sounds into ``workdir/vocoder``.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.audio.drawing import check_results, open_kind, with_steps
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, call, require
from experiments.configs import base
from experiments.data.dataset import evenly, preprocess, rows_of
from experiments.data.sounds import Sounds
from experiments.models.conditioning import conditions
from experiments.models.runs import Run, facts, write_results
from experiments.models.sampling import make_sampler
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, Table, tables_as_text, write_report
from scorekit import audio
from scorekit.typing import Array

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a vocoder's config.")
_STEP, _SEED = shared.step(), shared.seed("Seed of the noise, and of Griffin-Lim's phases.")
_STEPS = flags.DEFINE_list("steps", "6,100", "Numbers of sampling steps; the last is the full sampling.")
_NUM = shared.count("num", 64, "Number of held-out sounds, evenly from the test set.")
_SHOWN = shared.count("shown", 6, "Number of sounds with audio widgets.")
_ITERATIONS = shared.count("iterations", 60, "Of Griffin and Lim.")


def main(config: Config) -> None:
    start = time.monotonic()
    check_results(Sounds, config, _WORKDIR.value)
    steps = shared.step_counts("steps", _STEPS.value, "6,100")
    vocoders = ("log_mel", "mel_magnitudes")
    require(config.data.map.name in vocoders, "data.map.name", config.data.map.name, f"{' or '.join(vocoders)}")
    with config.ignore_type():
        config.data.crop = None
    run, workdir = open_kind(Sounds, config, _WORKDIR.value, _STEP.value)
    dataset = run.dataset
    part = rows_of(dataset.test, evenly(len(dataset.test["x"]), _NUM.value))
    given = jax.tree.map(np.asarray, conditions(run.model, preprocess(dataset, part)))
    truth, rate = dataset.real(part), dataset.sample_rate
    features = call(config, "data.map", f"data.map.name={config.data.map.name}", audio.make_log_mel, sample_rate=rate)
    print(f"{len(truth)} held-out sounds of {truth.shape[1] / rate:.3f} s with step {run.step:,} …", flush=True)

    lim = f"Griffin-Lim, {_ITERATIONS.value} iterations"
    sounds: dict[str, np.ndarray] = {}
    factors: dict[str, float] = {}
    with progress.Progress(1 + len(steps), batch_size=len(truth), label="vocode") as bar:
        encoded = features.encode(jnp.asarray(truth))
        key = jax.random.key(_SEED.value)
        phases = jax.jit(lambda encoded: griffin_lim(key, features, encoded, truth.shape[1]))
        sounds[lim] = np.asarray(phases(encoded))
        factors[lim] = real_time_factor(lambda: phases(encoded[:1]), truth.shape[1] / rate)
        sounds[f"{lim}, matched"] = np.asarray(
            jax.jit(lambda x: audio.match_mel(x, features.mel(encoded), *features))(sounds[lim])
        )
        bar.update(1)
        for i, count in enumerate(steps):
            generate = make_sampler(with_steps(config, count), run.model, dataset, run.extras)
            sounds[row_name(count)] = generate(run.params, _SEED.value, given, 1.0)
            one = jax.tree.map(lambda leaf: leaf[:1], given)
            draw_one = lambda g=generate, o=one: g(run.params, 0, o, 1.0)
            factors[row_name(count)] = real_time_factor(draw_one, truth.shape[1] / rate)
            bar.update(2 + i)
        sounds[f"{row_name(steps[-1])}, other noise"] = generate(run.params, _SEED.value + 1, given, 1.0)
    table = compare(sounds, truth, rate, row_name(steps[-1]), factors)
    report = write(workdir / "vocoder", config, run, table, {"held out": truth, **sounds}, rate)
    print(f"{tables_as_text([table])}({table.caption})")
    print(progress.final_line(str(report), time.monotonic() - start))


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


def griffin_lim(key, features: audio.LogMel, encoded: Array, length: int) -> Array:
    """Sounds from log-mel spectrograms without a model."""
    magnitudes = audio.magnitude_from_mel(features.mel(encoded), features.bank)
    window, hop = features.window, features.hop
    return audio.griffin_lim(key, magnitudes, window, hop, length, iterations=_ITERATIONS.value).x


def real_time_factor(make, seconds: float) -> float:
    """The shortest time of three runs after one that compiles, over the length of the sound."""
    jax.block_until_ready(make())
    times = []
    for _ in range(3):
        begin = time.monotonic()
        jax.block_until_ready(make())
        times.append(time.monotonic() - begin)
    return min(times) / seconds


def row_name(steps: int) -> str:
    """The row of a number of steps."""
    return f"{steps} steps"


def write(folder: Path, config: Config, run: Run, table: Table, sounds: dict[str, np.ndarray], rate: int) -> Path:
    """Writes the metrics, the sounds and the report."""
    write_results(
        folder / "vocoder.json", {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in table.rows}
    )
    rows = evenly(len(sounds["held out"]), _SHOWN.value)
    shown = {name: x[rows] for name, x in sounds.items()}
    widgets = audio_widgets(folder, shown, rate, row_labels=[*map(str, rows)])
    summary = {**facts(run), "map": config.data.map.name}
    return write_report(folder / "vocoder.html", "scorekit: vocoder", summary, [table, Heading("Sounds"), widgets])


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
