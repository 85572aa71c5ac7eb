"""Long sounds by roll-out and by blended windows, side by side: drift of statistics, seams, speed.

    python -m experiments.projects.audio.sound.roll_out --workdir=runs/phrases_forcing --context=32 --chunk=8
    python -m experiments.projects.audio.sound.roll_out --workdir=runs/phrases_forcing --stabilisation=0.05

The run is one with ``config.loss.levels=frame`` and no map. Both samplers draw ``--times`` times the length of the
training sounds with the solver and grid of the config, which must end at t = 0; the roll-out holds ``--context``
finished frames in its window and moves on by ``--chunk`` frames, the windows overlap by half. Prints, for each segment
of the training length, the level, the onset rate and the entropy of the chroma, alongside real sounds; the roughness of
seams; and the seconds of computing for a second of sound. Writes ``report.html`` with audio widgets and ``rows.json``
into ``workdir/roll_out``.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.outputs import write_results
from experiments.data.sounds import Sounds
from experiments.models.samples import check_samples, sampler_of
from experiments.projects.audio.sound import drawing, long_sounds
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, write_report
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.task import facts
from scorekit import audio
from scorekit.guidance import windows

_WORKDIR = shared.workdir("Folder of a run of experiments.train with loss.levels=frame.")
_STEP = shared.step()
_TIMES = shared.count("times", 8, "Length over that of the training sounds.", 2)
_NUM = shared.count("num", 20, "Number of sounds.", 2)
_CONTEXT = shared.count("context", 32, "Finished frames in the window.", 0)
_CHUNK = shared.count("chunk", 8, "Frames that are finished together.")
_STABILISATION = flags.DEFINE_float("stabilisation", 0.0, "Time in [0, 1) that finished frames are given as.")
_HISTORY_SCALE = flags.DEFINE_float("history_scale", 1.0, "Guidance scale of the finished frames; 1 is none.")

SHOWN = 4  # sounds with audio widgets
SILENCE = 1e-10  # the least power of a segment, -100 dB


def level(x: np.ndarray, rate: int) -> np.ndarray:
    """The level of each sound ``(N, L)`` in dB of full scale, ``(N,)``.

    >>> level(np.ones((1, 8)), 4000).round(3)
    array([0.])
    """
    del rate
    return 10 * np.log10(np.mean(np.square(x), axis=-1) + SILENCE)


def onset_rate(threshold: float) -> Callable[[np.ndarray, int], np.ndarray]:
    """``(sounds, rate) -> onsets a second``: local maxima of the onset envelope above a threshold."""
    envelope = jax.jit(audio.onset_envelope, static_argnums=1)

    def measure(x: np.ndarray, rate: int) -> np.ndarray:
        e = np.asarray(envelope(x, rate))
        peaks = (e[:, 1:-1] > e[:, :-2]) & (e[:, 1:-1] >= e[:, 2:]) & (e[:, 1:-1] > threshold)
        return peaks.sum(-1) * rate / x.shape[-1]

    return measure


def chroma_entropy() -> Callable[[np.ndarray, int], np.ndarray]:
    """``(sounds, rate) -> bits``, the entropy of the mean chroma: 0 for one pitch class, log2(12) for noise."""
    chroma = jax.jit(audio.chroma, static_argnums=1)

    def measure(x: np.ndarray, rate: int) -> np.ndarray:
        mean = np.asarray(chroma(x, rate)).mean(axis=1) + 1e-9
        p = mean / mean.sum(-1, keepdims=True)
        return -np.sum(p * np.log2(p), axis=-1)

    return measure


def drift(real: np.ndarray, sounds: Mapping[str, np.ndarray], rate: int) -> Table:
    """The means of the statistics of each segment, as long as the real sounds, and the mean of last less first segment.

    The standard error of the last column is of the differences, one for each sound. Real sounds are ``(N, L)``,
    the others, by sampler, ``(N, k L)`` with N at least 2.
    """
    size = real.shape[1]
    envelope = np.asarray(jax.jit(audio.onset_envelope, static_argnums=1)(real, rate))
    threshold = 0.5 * float(np.percentile(envelope.max(-1), 50))
    measures = {"level, dB": level, "onsets a second": onset_rate(threshold), "chroma entropy, bits": chroma_entropy()}
    count = next(iter(sounds.values())).shape[1] // size
    rows: list[list[Cell]] = []
    for what, measure in measures.items():
        of_real = float(measure(real, rate).mean())
        for name, x in sounds.items():
            found = np.stack([measure(x[:, k * size : (k + 1) * size], rate) for k in range(count)])
            apart = found[-1] - found[0]
            error = float(apart.std(ddof=1) / np.sqrt(len(apart)))
            rows.append([f"{what}: {name}", of_real, *map(float, found.mean(axis=1)), float(apart.mean()), error])
    header = ["", "real", *(f"segment {k + 1}" for k in range(count)), "drift", "standard error"]
    caption = f"means over {len(x)} sounds of segments of {size / rate:.3f} s; real: {len(real)} held-out sounds"
    return Table(header, rows, caption)


def seams(real: np.ndarray, sounds: Mapping[str, np.ndarray], rate: int, seconds: Mapping[str, float]) -> Table:
    """The roughness where segments meet and half-way between these, and the time that each sampler takes.

    A mean over a few positions scatters less than the value at one, and so has another median. Real sounds, in which
    nothing meets, are measured at as many positions as the others have seams, spread evenly.
    """
    size, roughness = real.shape[1], lambda x, at: float(np.median(audio.seam_roughness(x, at)))
    length = next(iter(sounds.values())).shape[1]
    at_seams, between = list(range(size, length - 1, size)), list(range(size // 2, length - 1, size))[1:]
    spread = np.linspace(0, size, len(at_seams) + 2)[1:-1].astype(int).tolist()
    loud = real[np.abs(np.diff(real, n=2)).max(-1) > 0]
    rows: list[list[Cell]] = [["real", roughness(loud, spread), None, None]]
    for name, x in sounds.items():
        rows.append([name, roughness(x, at_seams), roughness(x, between), seconds[name]])
    caption = (
        f"roughness: the median over sounds of the energy of the second difference, at {len(at_seams)} multiples of "
        f"{size / rate:.3f} s and half-way between them, over that everywhere; real: at {len(spread)} positions"
    )
    return Table(["", "roughness at seams", "half-way between", "seconds a second of sound"], rows, caption)


def check(config: Config) -> None:
    """Validates that the run has frames with levels of their own, and no map, which would have to be as long."""
    require(config.loss.levels == "frame", "loss.levels", config.loss.levels, "frame: train with diffusion forcing")
    for name in ("map", "vector", "tokens"):
        chosen, allowed = config.conditions[name].name, "none: the sounds are conditioned on their class alone"
        require(chosen == "none", f"conditions.{name}.name", chosen, allowed)
    if not np.isfinite(_HISTORY_SCALE.value):
        raise ConfigError(f"--history_scale={_HISTORY_SCALE.value}: must be finite")


def main(config: Config) -> Path:
    drawing.check_results(Sounds, config, _WORKDIR.value)
    check(config)
    scales = (config.sampling.guidance_scale,)
    run, workdir = drawing.open_kind(Sounds, config, _WORKDIR.value, _STEP.value, scales)
    size, rate = run.model.shape[0], run.dataset.sample_rate
    crop, frames, num = long_sounds.window_of(run), _TIMES.value * size, _NUM.value
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    rolling = long_sounds.Rolling(_CONTEXT.value, _CHUNK.value, _STABILISATION.value, _HISTORY_SCALE.value)
    of_windows = np.repeat(labels, windows.num_windows(frames, size, size // 2))
    draws = {
        "roll-out": (long_sounds.make_roll_out(config, run, num, frames, rolling), labels),
        "blended windows": (long_sounds.make_blended(config, run, num, frames, size // 2), of_windows),
    }
    decode = jax.jit(run.dataset.of_length(_TIMES.value * crop).to_sound)
    sounds, seconds = {}, {}
    with progress.Progress(len(draws), batch_size=num, label="roll_out") as bar:
        for i, (name, (draw, of_each)) in enumerate(draws.items()):
            given = run.params, jax.random.key(0), {"labels": of_each}
            compiled = jax.jit(draw).lower(*given).compile()
            began = time.monotonic()
            x = jax.block_until_ready(compiled(*given))
            seconds[name] = (time.monotonic() - began) / (num * _TIMES.value * crop / rate)
            sounds[name] = check_samples(np.asarray(decode(x)), sampler_of(config), "sounds")
            bar.update(1 + i)
    real = run.dataset.real(run.dataset.test)[: max(num, 200)]
    tables = [drift(real, sounds, rate), seams(real, sounds, rate, seconds)]
    out = workdir / "roll_out"
    names = run.dataset.named(labels[:SHOWN])
    widgets = audio_widgets(out, {k: x[:SHOWN] for k, x in sounds.items()}, rate, row_labels=names)
    write_results(out / "rows.json", [row for table in tables for row in table.records()])
    sections = [*tables, Heading("Sounds"), widgets]
    report = write_report(out / "report.html", "scorekit: long sounds", {**facts(run), **rolling._asdict()}, sections)
    print(tables_as_text(tables))
    return report


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
