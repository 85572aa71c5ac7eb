"""Vocoders of few steps against Griffin and Lim's algorithm, by distance to the sound and by time.

Everything starts at the log-mel spectrogram of one sound and ends at its samples, in one compiled function: Griffin-Lim
on the non-negative magnitudes nearest to it; a model, whose conditions are computed from it, with each number of steps
and of iterations that find the phases of its magnitudes. Each row is timed in turns with Griffin-Lim, on one sound, by
the wall clock and by the CPU time of all cores, which a busy machine disturbs less (medians). A run is sampled with the
solver and the grid that it was saved with, in its own number of steps alone where the times of the grid are listed.
*detail* is the standard deviation of the log-magnitudes about their envelope, relative to the real sounds: below 1 the
model has averaged over details that the mel spectrogram leaves open, which the log-spectral distance rewards.
"""

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.audio.drawing import check_kind, check_results, open_kind
from experiments.audio.vocoders import griffin_lim
from experiments.benchmarks.few_steps.sounds import Comparison, check_students
from experiments.benchmarks.measuring import in_turns
from experiments.cli.config import Config, call, require
from experiments.configs import base
from experiments.data.dataset import evenly, rows_of
from experiments.data.sounds import Sounds
from experiments.models import guidance, run_files
from experiments.models.guidance import make_guided
from experiments.models.runs import Run
from experiments.models.sampling import at_steps, build_sampler, possible_steps
from scorekit import audio, process, samplers
from scorekit.audio import representations
from scorekit.networks import Masked
from scorekit.typing import Array


class Problem(NamedTuple):
    """The sounds ``(N, length)``, their log-mel features ``(N, frames, num_mels)`` and the analysis."""

    features: audio.LogMel
    rate: int
    truth: Array
    encoded: Array


def vocoder(
    run: Run, config: Config, features: audio.LogMel, iterations: int, options: flags.FlagValues
) -> Callable[[Array], Array]:
    """Sounds from log-mel features by a model: magnitudes in ``config.sampling.steps`` steps, then phases."""
    schedule = run.model.schedule
    solver, ts = build_sampler(config, schedule)
    guided, scale = make_guided(config, run.model), guidance.traced_scale(config, config.sampling.guidance_scale)

    def vocode(encoded: Array) -> Array:
        n, images = len(encoded), features.images(encoded)
        given = {"labels": jnp.zeros(n, jnp.int32), "dense_map": Masked(images, jnp.ones(n, bool))}
        denoiser = guided(run.params, given, scale, run.extras)
        for_prior, for_steps = jax.random.split(jax.random.key(options.seed))
        noise = process.sample_prior(for_prior, schedule, images[..., :1], ts[0])
        x = samplers.sample(for_steps if solver.stochastic else None, denoiser, schedule, solver, noise, ts)
        return representations.magnitudes(features, iterations, options.match).decode(x, images)

    return vocode


def measure(
    problem: Problem, make: Callable[[Array], Array], baseline: Callable[[Array], Array], repeats: int
) -> tuple[dict, Any]:
    """Both distances, the detail and the time of one sound; and all sounds."""
    one = problem.encoded[:1]
    sounds = np.concatenate([np.asarray(make(row[None])) for row in problem.encoded])
    jax.block_until_ready((make(one), baseline(one)))
    turns = functools.partial(in_turns, lambda: make(one), lambda: baseline(one), repeats)
    wall, of_cpu = turns(time.perf_counter), turns(time.process_time)
    detail_of = jax.jit(lambda x: jnp.std(representations.magnitudes(problem.features).encode(x)))
    found = {
        "log-spectral distance, dB": audio.log_spectral_distance(sounds, problem.truth, problem.rate).mean(),
        "multi-resolution STFT loss": audio.multi_resolution_stft_loss(sounds, problem.truth, problem.rate).mean(),
        "detail": detail_of(sounds) / detail_of(problem.truth),
        "ms a sound": 1e3 * wall.ours,
        "ms, baseline": 1e3 * wall.theirs,
        "time ratio": wall.ratio,
        "CPU time ratio": of_cpu.ratio,
    }
    return {name: float(value) for name, value in found.items()}, sounds


def versions(
    runs: dict[Path, tuple[Run, Config]], features: audio.LogMel, length: int, options: flags.FlagValues
) -> Iterator[tuple[str, Callable[[Array], Array], Path | None]]:
    """The name of every row, its compiled function of the features, and the folder of its run."""
    for count in (options.baseline, 2 * options.baseline):
        given = {"length": length, "iterations": count}
        make = jax.jit(functools.partial(griffin_lim, jax.random.key(options.seed), features, **given))
        yield f"Griffin-Lim, {count}", make, None
    for path, (run, config) in runs.items():
        for n in possible_steps(config, [*map(int, options.steps)]):
            for count in map(int, options.iterations):
                make = jax.jit(vocoder(run, at_steps(config, n), features, count, options))
                name = f"{path.name} at {run.step}, {n} steps, {count}{'' if options.match else ', not matched'}"
                yield name, make, path


def open_vocoder(config: Config, folder: str, step: int | None = None) -> tuple[Path, tuple[Any, Config]]:
    """The folder of a run, the run, and its config for full sounds."""
    check_results(Sounds, config, folder)
    for field, allowed in (("map", "mel_magnitudes"), ("representation", "magnitudes")):
        require(config.data[field].name == allowed, f"data.{field}.name", config.data[field].name, allowed)
    with config.ignore_type():
        config.data.crop = None
    run, path = open_kind(Sounds, config, folder, step)
    return path, (run, config)


def run(config: Config, options: flags.FlagValues) -> Path:
    """Prints the table of a vocoder and its students, and writes a report that plays some sounds."""
    workdir, students = options.workdir, options.students
    fields = ("name", "path", *run_files.SPLITS, *(f"map.{field}" for field in config.data.map))
    check_students(workdir, config, students, fields, lambda config, given: check_kind(Sounds, config, given))
    saved = config.copy_and_resolve_references()
    workdir_of, teacher = open_vocoder(config, workdir, options.step)
    runs = {workdir_of: teacher, **dict(open_vocoder(base.saved(folder), folder) for folder in students)}
    dataset = teacher[0].dataset
    truth = jnp.asarray(dataset.real(rows_of(dataset.test, evenly(len(dataset.test["x"]), options.num))))
    rate, length, shown = dataset.sample_rate, truth.shape[1], evenly(len(truth), options.shown)
    features = call(config, "data.map", "data.map.name=mel_magnitudes", audio.make_log_mel, sample_rate=rate)
    problem = Problem(features, rate, truth, jax.jit(features.encode)(truth))
    kept = {"sounds": len(truth), "seed": options.seed, "baseline": options.baseline}
    comparison = Comparison(workdir_of, saved, kept)
    comparison.sounds["held out"] = np.asarray(truth)[shown]
    made = list(versions(runs, features, length, options))
    baseline = made[0][1]  # Griffin-Lim with options.baseline iterations
    for name, make, path in made:
        compute = functools.partial(measure, problem, make, baseline, options.repeats)
        comparison.add(name, compute, path, shown)
    caption = f"means over {len(truth)} held-out sounds of {length / rate:g} s"
    labels = [*map(str, shown)]
    return comparison.report("vocoders of few steps", teacher[0], comparison.rows(), caption, rate, labels)
