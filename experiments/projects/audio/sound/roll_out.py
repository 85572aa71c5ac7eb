"""Long sounds by roll-out (diffusion forcing) and by blended windows, side by side: drift of statistics, and speed.

    python -m experiments.projects.audio.sound.roll_out --workdir=runs/phrases_forcing --context=32 --chunk=8
    python -m experiments.projects.audio.sound.roll_out --workdir=runs/phrases_forcing --stabilisation=0.05

The run is one with ``config.loss.objective=frame_levels`` and no map. Both samplers draw ``--times`` times the length
of the training sounds with the solver and grid of the config, which must end at t = 0; the roll-out holds
``--context`` finished frames in its window and moves on by ``--chunk`` frames, the windows overlap by half. Prints,
for each segment of the training length, the level and the onset rate, alongside real sounds; and the seconds of
computing for a second of sound. Writes ``report.html`` with audio widgets and ``rows.json`` into ``workdir/roll_out``.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.outputs import write_results
from experiments.data.sounds import Sounds
from experiments.models.samples import check_samples
from experiments.projects.audio.sound import long_sounds, runs
from experiments.reporting.tables import Table, row_table
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_rules, build_sampler, sampler_of
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.task import Run, facts
from scorekit import audio, forcing
from scorekit.guidance import windows

_WORKDIR = shared.workdir("Folder of a run of experiments.train with loss.objective=frame_levels.")
_STEP = shared.step()
_TIMES = shared.count("times", 8, "Length over that of the training sounds.", 2)
_NUM = shared.count("num", 20, "Number of sounds.", 2)
_CONTEXT = shared.count("context", 32, "Finished frames in the window.", 0)
_CHUNK = shared.count("chunk", 8, "Frames that are finished together.")
_STABILISATION = flags.DEFINE_float("stabilisation", 0.0, "Time in [0, 1) that finished frames are given as.")

SHOWN = 4  # sounds with audio widgets
SILENCE = 1e-10  # the least power of a segment, -100 dB


class Rolling(NamedTuple):
    """How a window moves on; see :func:`scorekit.forcing.roll_out`."""

    context: int
    chunk: int
    stabilisation: float = 0.0


def make_roll_out(config: Config, run: Run, batch: int, length: int, rolling: Rolling) -> long_sounds.Draw:
    """Draws frame after frame in a sliding window; the conditions are of the sounds.

    The finished frames that the first window needs are drawn together: to begin from noise alone, as long as the
    context, is a pattern of levels that training at independent ones hardly ever has, and its first frames are loud.
    """
    schedule, size = run.model.schedule, run.model.shape[0]
    solver, ts = build_sampler(config, schedule)
    scale, guided = config.sampling.guidance_scale, make_guided(build_rules(config), run.model)
    options = {"window": size, "context": rolling.context, "chunk": rolling.chunk}
    sampler_with = lambda denoiser: forcing.roll_out(
        denoiser, schedule, solver, ts, stabilisation=rolling.stabilisation, **options
    )
    try:
        sampler_with(lambda x, t: x)
    except ValueError as error:
        given = f"--context={rolling.context}, --chunk={rolling.chunk}, config.sampling.solver and .grid"
        raise ConfigError(f"{given}: {error}") from error

    def draw(params, key, given):
        for_frames, for_start = jax.random.split(key)
        denoiser = guided(params, given, None if scale == 1 else scale, run.extras)
        window = long_sounds.sample(for_start, denoiser, schedule, solver, (batch, *run.model.shape), ts)
        start = window[:, : rolling.context]
        like = jax.ShapeDtypeStruct((batch, length - rolling.context, *run.model.shape[1:]), jnp.float32)
        history = start if rolling.context else None
        frames = forcing.sample_long(for_frames, sampler_with(denoiser), like, history)
        return jnp.concatenate([start, frames], axis=1)

    return draw


def level(x: np.ndarray) -> np.ndarray:
    """The level of each sound ``(N, L)`` in dB of full scale, ``(N,)``.

    >>> level(np.ones((1, 8))).round(3)
    array([0.])
    """
    return 10 * np.log10(np.mean(np.square(x), axis=-1) + SILENCE)


def onset_rate(real: np.ndarray, rate: int) -> Callable[[np.ndarray], np.ndarray]:
    """``sounds -> onsets a second``: local maxima of the onset envelope above half the median peak of real sounds."""
    envelope = jax.jit(lambda x: audio.onset_envelope(x, rate))
    threshold = 0.5 * np.median(np.max(envelope(real), axis=-1))

    def measure(x: np.ndarray) -> np.ndarray:
        e = np.asarray(envelope(x))
        peaks = (e[:, 1:-1] > e[:, :-2]) & (e[:, 1:-1] >= e[:, 2:]) & (e[:, 1:-1] > threshold)
        return peaks.sum(-1) * rate / x.shape[-1]

    return measure


def drift(real: np.ndarray, sounds: Mapping[str, np.ndarray], rate: int) -> Table:
    """The means of the statistics of each segment, as long as the real sounds, and the mean of last less first segment.

    The standard error of the last column is of the differences, one for each sound. Real sounds are ``(N, L)``,
    the others, by sampler, ``(N, k L)`` with N at least 2.
    """
    size, rows = real.shape[1], []
    count = next(iter(sounds.values())).shape[1] // size
    for statistic, measure in {"level, dB": level, "onsets a second": onset_rate(real, rate)}.items():
        of_real = float(measure(real).mean())
        for name, x in sounds.items():
            values = np.stack([measure(x[:, k * size : (k + 1) * size]) for k in range(count)])
            apart = values[-1] - values[0]
            error = float(apart.std(ddof=1) / np.sqrt(len(apart)))
            rows.append([f"{statistic}: {name}", of_real, *map(float, values.mean(axis=1)), float(apart.mean()), error])
    header = ["", "real", *(f"segment {k + 1}" for k in range(count)), "drift", "standard error"]
    caption = f"means over {len(x)} sounds of segments of {size / rate:.3f} s; real: {len(real)} held-out sounds"
    return Table(header, rows, caption)


def check(config: Config) -> None:
    """Validates that the run has frames with levels of their own, and no map, which would have to be as long."""
    objective = config.loss.objective
    require(objective == "frame_levels", "loss.objective", objective, "frame_levels: train with diffusion forcing")
    for name in ("map", "vector", "tokens"):
        chosen, allowed = config.conditions[name].name, "none: the sounds are conditioned on their class alone"
        require(chosen == "none", f"conditions.{name}.name", chosen, allowed)


def main(config: Config) -> Path:
    workdir = runs.check_results(Sounds, config, _WORKDIR.value)
    check(config)
    run = runs.open_sounds(config, workdir, _STEP.value, (config.sampling.guidance_scale,))
    size, rate, times, num = run.model.shape[0], run.dataset.sample_rate, _TIMES.value, _NUM.value
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    rolling = Rolling(_CONTEXT.value, _CHUNK.value, _STABILISATION.value)
    of_windows = np.repeat(labels, windows.num_windows(times * size, size, size // 2))
    draws = {
        "roll-out": (make_roll_out(config, run, num, times * size, rolling), labels),
        "blended windows": (long_sounds.make_blended(config, run, num, times * size, size // 2), of_windows),
    }
    decode = jax.jit(run.dataset.of_length(times * run.dataset.length).to_sound)
    sounds, seconds = {}, {}
    with progress.Progress(len(draws), batch_size=num, label="roll_out") as bar:
        for i, (name, (draw, of_each)) in enumerate(draws.items()):
            given = run.params, jax.random.key(0), {"labels": of_each}
            compiled = jax.jit(draw).lower(*given).compile()
            began = time.monotonic()
            x = jax.block_until_ready(compiled(*given))
            seconds[name] = (time.monotonic() - began) / (num * times * run.dataset.length / rate)
            sounds[name] = check_samples(np.asarray(decode(x)), sampler_of(config), "sounds")
            bar.update(1 + i)
    real, out = run.dataset.real(run.dataset.test)[: max(num, 200)], workdir / "roll_out"
    tables = [drift(real, sounds, rate), row_table(seconds, "seconds of computing for a second of sound")]
    write_results(out / "rows.json", [row for table in tables for row in table.records()])
    return runs.write_sound_report(
        out / "report.html",
        "scorekit: long sounds",
        {**facts(run), **rolling._asdict()},
        tables,
        {name: x[:SHOWN] for name, x in sounds.items()},
        rate,
        row_labels=run.dataset.named(labels[:SHOWN]),
    )


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
