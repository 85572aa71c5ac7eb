"""Long sounds by roll-out and by blended windows, side by side: drift of statistics, seams, speed.

The run is one with ``config.loss.levels=frame`` and no map. Both samplers draw ``--times`` times the length of the
training sounds with the solver and grid of the config, which must end at t = 0; the roll-out holds ``--context``
finished frames in its window and moves on by ``--chunk`` frames, the windows overlap by half. Prints, for each segment
of the training length, the level, the onset rate and the entropy of the chroma, alongside real sounds; the roughness of
seams; and the seconds of computing for a second of sound. Writes ``report.html`` with audio widgets and ``rows.json``
into ``workdir/roll_out``.
"""

import time
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments.cli import progress
from experiments.cli.config import Config, ConfigError, require
from experiments.data.sounds import Sounds
from experiments.models.runs import facts, write_results
from experiments.models.samples import check_samples, sampler_of
from experiments.projects.audio.sound import drawing, long_sounds, segments
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, write_report
from experiments.reporting.tables import tables_as_text
from scorekit.guidance import windows


def check(config: Config, options: flags.FlagValues) -> None:
    """Validates that the run has frames with levels of their own, and no map, which would have to be as long."""
    require(config.loss.levels == "frame", "loss.levels", config.loss.levels, "frame: train with diffusion forcing")
    for name in ("map", "vector", "tokens"):
        chosen = config.conditions[name].name
        require(chosen == "none", f"data.{name}.name", chosen, "none: the sounds are conditioned on their class alone")
    if not np.isfinite(options.history_scale):
        raise ConfigError(f"--history_scale={options.history_scale}: must be finite")


def run(config: Config, options: flags.FlagValues) -> Path:
    """Prints the tables of a run and writes a report."""
    drawing.check_results(Sounds, config, options.workdir)
    check(config, options)
    run, workdir = drawing.open_kind(Sounds, config, options.workdir, options.step, (config.sampling.guidance_scale,))
    size, rate = run.model.shape[0], run.dataset.sample_rate
    crop, frames, num = long_sounds.window_of(run), options.times * size, options.num
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    rolling = long_sounds.Rolling(options.context, options.chunk, options.stabilisation, options.history_scale)
    of_windows = np.repeat(labels, windows.num_windows(frames, size, size // 2))
    draws = {
        "roll-out": (long_sounds.make_roll_out(config, run, num, frames, rolling), labels),
        "blended windows": (long_sounds.make_blended(config, run, num, frames, size // 2), of_windows),
    }
    decode = jax.jit(run.dataset.of_length(options.times * crop).to_sound)
    sounds, seconds = {}, {}
    with progress.Progress(len(draws), batch_size=num, label="roll_out") as bar:
        for i, (name, (draw, of_each)) in enumerate(draws.items()):
            given = run.params, jax.random.key(options.seed), {"labels": of_each}
            compiled = jax.jit(draw).lower(*given).compile()
            began = time.monotonic()
            x = jax.block_until_ready(compiled(*given))
            seconds[name] = (time.monotonic() - began) / (num * options.times * crop / rate)
            sounds[name] = check_samples(np.asarray(decode(x)), sampler_of(config), "sounds")
            bar.update(1 + i)
    real = run.dataset.real(run.dataset.test)[: max(num, 200)]
    tables = [segments.drift(real, sounds, rate), segments.seams(real, sounds, rate, seconds)]
    out = workdir / "roll_out"
    names = run.dataset.named(labels[: options.shown])
    widgets = audio_widgets(out, {k: x[: options.shown] for k, x in sounds.items()}, rate, row_labels=names)
    write_results(out / "rows.json", [row for table in tables for row in table.records()])
    sections = [*tables, Heading("Sounds"), widgets]
    report = write_report(
        out / "report.html",
        "scorekit: long sounds",
        {**facts(run), "seed": options.seed, **rolling._asdict()},
        sections,
    )
    print(tables_as_text(tables))
    return report
