"""Vocoders of few steps against Griffin and Lim's algorithm, by distance to the sound and by time.

    python -m experiments.benchmarks.few_step_vocoder --workdir=runs/vocoder --students=runs/vocoder_student
    python -m experiments.benchmarks.few_step_vocoder --workdir=runs/vocoder --steps=2,6,25 --iterations=8,30,60

Everything starts at the log-mel spectrogram of one sound and ends at its samples, in one compiled function: Griffin-Lim
with ``--baseline`` iterations on the non-negative magnitudes nearest to it; a model, whose conditions are computed from
it, with each number of ``--steps`` and of ``--iterations`` that find the phases of its magnitudes. Each row is timed in
turns with the baseline, on one sound, by the wall clock and by the CPU time of all cores, which a busy machine disturbs
less: medians over ``--repeats`` turns. A run is sampled with the solver and the grid that it was saved with, in its own
number of steps alone where the times of the grid are listed, and its magnitudes are matched to the mel spectrogram
unless ``--nomatch``. *detail* is the standard deviation of the log-magnitudes about their envelope, over that of the
real sounds: below 1 the model has averaged over what the mel spectrogram leaves open, which the log-spectral distance
rewards.

The rows are kept in ``workdir/few_steps/rows.json`` and the sounds in its ``rows`` folder: the same command goes on
where it was stopped, and further rows are added. ``report.html`` plays them.
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

from experiments.audio.drawing import check_results, open_kind
from experiments.benchmarks.measuring import in_turns
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, call, require
from experiments.configs import base
from experiments.data import matching
from experiments.data.dataset import evenly, rows_of
from experiments.data.sounds import Sounds
from experiments.evaluation.kept_rows import KeptRows, check_names, overridden
from experiments.models import rules
from experiments.models.rules import make_guided
from experiments.models.runs import Run, facts, write_arrays
from experiments.models.sampling import at_steps, build_sampler, possible_steps
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, tables_as_text, write_report
from experiments.reporting.tables import metrics_table
from scorekit import audio, process, samplers
from scorekit.audio import representations
from scorekit.networks import Masked
from scorekit.typing import Array

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a vocoder's config.")
_STUDENTS = flags.DEFINE_list("students", [], "Folders of further vocoders of the same sounds.")
_STEP, _SEED = shared.step(), shared.seed("Seed of the noise, and of Griffin-Lim's phases.")
_STEPS = flags.DEFINE_list("steps", "1,2,4", "Numbers of steps.")
_ITERATIONS = flags.DEFINE_list("iterations", "30", "Numbers of iterations for the phases of a model's magnitudes.")
_MATCH = flags.DEFINE_bool("match", True, "Whether a model's magnitudes are scaled to the given mel spectrogram.")
_BASELINE = shared.count("baseline", 60, "Iterations of Griffin-Lim without a model.")
_NUM = shared.count("num", 48, "Number of held-out sounds, evenly from the test set.")
_SHOWN = shared.count("shown", 4, "Number of sounds with audio widgets.")
_REPEATS = shared.count("repeats", 15, "Turns of the timing.")


class Problem(NamedTuple):
    """The sounds ``(N, length)``, their log-mel features ``(N, frames, num_mels)``, and what makes these."""

    features: audio.LogMel
    rate: int
    truth: Array
    encoded: Array


def griffin_lim(features: audio.LogMel, length: int, iterations: int, encoded: Array) -> Array:
    """Sounds from log-mel features without a model."""
    magnitudes = audio.magnitude_from_mel(features.mel(encoded), features.bank)
    key = jax.random.key(_SEED.value)
    return audio.griffin_lim(key, magnitudes, features.window, features.hop, length, iterations=iterations).x


def vocoder(run: Run, config: Config, features: audio.LogMel, iterations: int) -> Callable[[Array], Array]:
    """Sounds from log-mel features by a model: magnitudes in ``config.sampling.steps`` steps, then phases."""
    schedule = run.model.schedule
    solver, ts = build_sampler(config, schedule)
    guided, scale = make_guided(config, run.model), rules.traced_scale(config, config.sampling.guidance_scale)

    def vocode(encoded: Array) -> Array:
        n, images = len(encoded), features.images(encoded)
        given = {"labels": jnp.zeros(n, jnp.int32), "dense_map": Masked(images, jnp.ones(n, bool))}
        denoiser = guided(run.params, given, scale, run.extras)
        for_prior, for_steps = jax.random.split(jax.random.key(_SEED.value))
        noise = process.sample_prior(for_prior, schedule, images[..., :1], ts[0])
        x = samplers.sample(for_steps if solver.stochastic else None, denoiser, schedule, solver, noise, ts)
        return representations.magnitudes(features, iterations, _MATCH.value).decode(x, images)

    return vocode


def detail(features: audio.LogMel, sound: Array) -> Array:
    """The standard deviation of the log-magnitudes about their envelope, of all sounds together."""
    return jnp.std(representations.magnitudes(features).encode(sound))


def measure(problem: Problem, make: Callable[[Array], Array], baseline: Callable[[Array], Array]) -> tuple[dict, Any]:
    """Both distances, the detail and the time of one sound; and all sounds."""
    one = problem.encoded[:1]
    sounds = np.concatenate([np.asarray(make(row[None])) for row in problem.encoded])
    jax.block_until_ready((make(one), baseline(one)))
    wall, of_cpu = (
        in_turns(lambda: make(one), lambda: baseline(one), _REPEATS.value, clock)
        for clock in (time.perf_counter, time.process_time)
    )
    detail_of = jax.jit(functools.partial(detail, problem.features))
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
    runs: dict[Path, tuple[Run, Config]], features: audio.LogMel, length: int, steps: list[int], iterations: list[int]
) -> Iterator[tuple[str, Callable[[Array], Array], Path | None]]:
    """The name of every row, its compiled function of the features, and the folder of its run."""
    for count in sorted({_BASELINE.value, 2 * _BASELINE.value}):
        yield f"Griffin-Lim, {count}", jax.jit(functools.partial(griffin_lim, features, length, count)), None
    for path, (run, config) in runs.items():
        for n in possible_steps(config, steps):
            for count in iterations:
                make = jax.jit(vocoder(run, at_steps(config, n), features, count))
                name = f"{path.name} at {run.step}, {n} steps, {count}{'' if _MATCH.value else ', not matched'}"
                yield name, make, path


def open_vocoder(config: Config, folder: Any, step: int | None = None) -> tuple[Any, Config, Path]:
    """A run, its config for full sounds, and its folder."""
    check_results(Sounds, config, folder)
    for field, allowed in (("map", "mel_magnitudes"), ("representation", "magnitudes")):
        require(config.data[field].name == allowed, f"data.{field}.name", config.data[field].name, allowed)
    with config.ignore_type():
        config.data.crop = None
    run, path = open_kind(Sounds, config, folder, step)
    return run, config, path


def main(config: Config) -> None:
    start = time.monotonic()
    steps = shared.step_counts("steps", _STEPS.value, "1,2,4")
    iterations = shared.step_counts("iterations", _ITERATIONS.value, "8,30")
    changed = overridden(config, base.saved(_WORKDIR.value))
    fields = ("name", "path", *matching.SPLITS, *(f"map.{field}" for field in config.data.map))
    for folder in _STUDENTS.value:
        matching.check(base.saved(folder), config, f"--students={folder}", str(_WORKDIR.value), fields)
    run, config, workdir = open_vocoder(config, _WORKDIR.value, _STEP.value)
    runs = {workdir: (run, config)}
    for folder in _STUDENTS.value:
        student, its_config, path = open_vocoder(base.saved(folder), folder)
        runs[path] = (student, its_config)
    check_names("--workdir and --students", [*runs])
    dataset = run.dataset
    truth = jnp.asarray(dataset.real(rows_of(dataset.test, evenly(len(dataset.test["x"]), _NUM.value))))
    rate = dataset.sample_rate
    features = call(config, "data.map", "data.map.name=mel_magnitudes", audio.make_log_mel, sample_rate=rate)
    problem = Problem(features, rate, truth, jax.jit(features.encode)(truth))
    out = workdir / "few_steps"
    settings = {"sounds": len(truth), "seed": _SEED.value, "baseline": _BASELINE.value, "config": changed}
    kept = KeptRows(out / "rows.json", settings)
    rows = evenly(len(truth), _SHOWN.value)
    sounds = {"held out": np.asarray(truth)[rows]}
    baseline = jax.jit(functools.partial(griffin_lim, features, truth.shape[1], _BASELINE.value))
    for name, make, path in versions(runs, features, truth.shape[1], steps, iterations):
        file = out / "rows" / f"{name.replace(', ', '_').replace(' ', '_')}.npz"

        def compute(make=make, file=file):
            found, x = measure(problem, make, baseline)
            write_arrays(file, x=x)
            return found

        kept.row(name, compute, path)
        sounds[name] = np.load(file)["x"][rows]
    table = metrics_table(kept.rows(), f"means over {len(truth)} held-out sounds of {truth.shape[1] / rate:g} s")
    print(tables_as_text([table]))
    widgets = audio_widgets(out / "sounds", sounds, rate, row_labels=[*map(str, rows)])
    sections = [table, Heading("Sounds"), widgets]
    report = write_report(out / "report.html", "scorekit: vocoders of few steps", facts(run), sections)
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
