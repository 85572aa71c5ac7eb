"""Waveforms of held-out sounds from their mel spectrograms, by a trained vocoder and by Griffin and Lim's iteration.

    python -m experiments.audio.vocode --workdir=runs/vocoder
    python -m experiments.audio.vocode --workdir=runs/vocoder --steps=4,6,12,100 --num=100

Whole sounds are told to the model by their log-mel spectrograms and nothing else. Both ways start from the same mel
spectrograms: Griffin-Lim from the non-negative magnitudes nearest to them, the model from the same noise for every
number of steps; the last of ``--steps`` is the full sampling that the others are compared with. Prints a table, and
writes ``vocoder.html`` with players, ``vocoder.json`` and the sounds into ``workdir/vocoder``.
"""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments import mels
from experiments.models import model
from experiments.reporting import audio_widgets as players
from experiments.models.runs import Experiment, config_path, open_experiment
from experiments.cli.config import Config, ConfigError, call
from experiments.data.dataset import as_seen, evenly
from experiments.reporting.report import Heading, Table, tables_as_text, write_report
from scorekit import audio
from scorekit.io.files import write_atomic
from scorekit.typing import Array

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train with a vocoder's config.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_STEPS = flags.DEFINE_list("steps", "6,100", "Numbers of sampling steps; the last is the full sampling.")
_NUM = flags.DEFINE_integer("num", 64, "Number of held-out sounds, evenly from the test set.", lower_bound=1)
_SHOWN = flags.DEFINE_integer("shown", 6, "Number of sounds to listen to.", lower_bound=1)
_ITERATIONS = flags.DEFINE_integer("iterations", 60, "Of Griffin and Lim.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the noise, and of Griffin-Lim's phases.")


def main(config: Config) -> None:
    start = time.monotonic()
    steps = command_line.steps("steps", _STEPS.value, "6,100")
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    if config.data.map.name not in ("log_mel", "mel_magnitudes"):
        raise ConfigError(f"--workdir={workdir}: must hold a vocoder (config.data.map.name=mel_magnitudes)")
    with config.ignore_type():
        config.data.crop = None
    run = open_experiment(config, workdir, _STEP.value)
    rows = evenly(len(run.dataset.test["x"]), _NUM.value)
    part = {name: value[rows] for name, value in run.dataset.test.items()}
    batch = as_seen(run.dataset, part)
    given = jax.tree.map(np.asarray, model.conditions(run.model, batch))
    truth, rate = run.dataset.real(part), run.dataset.sample_rate
    assert rate is not None
    spectrogram = call(config, "data.map", f"data.map.name={config.data.map.name}", mels.log_mel, sample_rate=rate)
    print(f"{len(truth)} held-out sounds of {truth.shape[1] / rate:.3f} s with step {run.step:,} …", flush=True)

    lim = f"Griffin-Lim, {_ITERATIONS.value} iterations"
    sounds: dict[str, np.ndarray] = {}
    factors: dict[str, float] = {}
    with progress.Progress(1 + len(steps), batch_size=len(truth), label="vocode") as shown:
        told = spectrogram.told(jnp.asarray(truth))
        key = jax.random.key(_SEED.value)
        phases = jax.jit(lambda told: _griffin_lim(key, spectrogram, told, truth.shape[1]))
        sounds[lim] = np.asarray(phases(told))
        factors[lim] = _real_time(lambda: phases(told[:1]), truth.shape[1] / rate)
        sounds[f"{lim}, matched"] = np.asarray(jax.jit(lambda x: _matched(spectrogram, x, told))(sounds[lim]))
        shown.update(1)
        for i, count in enumerate(steps):
            name, generate = _of(count), _sampler(config, run, count)
            sounds[name] = generate(run.params, _SEED.value, given, 1.0)
            one = jax.tree.map(lambda leaf: leaf[:1], given)
            factors[name] = _real_time(lambda g=generate, o=one: g(run.params, 0, o, 1.0), truth.shape[1] / rate)
            shown.update(2 + i)
        sounds[f"{_of(steps[-1])}, other noise"] = generate(run.params, _SEED.value + 1, given, 1.0)
    table = compare(sounds, truth, rate, _of(steps[-1]), factors)
    _write(workdir / "vocoder", config, run, table, {"held out": truth, **sounds}, rate)
    print(f"{tables_as_text([table])}({table.caption})")
    print(progress.final_line(str(workdir / "vocoder" / "vocoder.html"), time.monotonic() - start))


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


def _griffin_lim(key, spectrogram: mels.LogMel, told: Array, length: int) -> Array:
    bank, window, hop = spectrogram
    magnitudes = audio.magnitude_from_mel(spectrogram.mel(told), bank)
    return audio.griffin_lim(key, magnitudes, window, hop, length, iterations=_ITERATIONS.value).x


def _matched(spectrogram: mels.LogMel, x: Array, told: Array) -> Array:
    return audio.match_mel(x, spectrogram.mel(told), *spectrogram)


def _sampler(config: Config, run: Experiment, steps: int):
    with config.unlocked():
        config.sampling.steps = steps
    return model.make_sampler(config, run.model, run.dataset, run.extras)


def _real_time(make, seconds: float) -> float:
    """The least time of three runs after one that compiles, over the length of the sound."""
    jax.block_until_ready(make())
    times = []
    for _ in range(3):
        begin = time.monotonic()
        jax.block_until_ready(make())
        times.append(time.monotonic() - begin)
    return min(times) / seconds


def _of(steps: int) -> str:
    return f"{steps} steps"


def _write(
    folder: Path, config: Config, run: Experiment, table: Table, sounds: dict[str, np.ndarray], rate: int
) -> None:
    numbers = {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in table.rows}
    write_atomic(folder / "vocoder.json", json.dumps(numbers, indent=2) + "\n")
    rows = evenly(len(sounds["held out"]), _SHOWN.value)
    heard = players.players(folder, {name: x[rows] for name, x in sounds.items()}, rate, row_labels=[*map(str, rows)])
    facts = {"data": run.dataset.name, "checkpoint": f"step {run.step:,}", "map": config.data.map.name}
    write_report(folder / "vocoder.html", "scorekit: vocoder", facts, [table, Heading("Sounds"), heard])


if __name__ == "__main__":
    command_line.run(main, lambda: config_path(_WORKDIR.value))
