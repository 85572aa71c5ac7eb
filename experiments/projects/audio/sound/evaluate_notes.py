"""Draws notes for held-out labels and evaluates them, with the real held-out notes for comparison.

    python -m experiments.projects.audio.sound.evaluate_notes --workdir=runs/notes
    python -m experiments.projects.audio.sound.evaluate_notes --workdir=runs/notes --scales=0,1,2,4 --steps=6,25 \
        --num=512

Every note has the instrument, pitch and velocity of a held-out one and the same noise at every scale and number of
steps. Prints a table and writes ``report.html`` with audio widgets, ``table.json`` and the sounds as WAV files into
``workdir/notes``.

Columns: :mod:`experiments.projects.audio.note_evaluators` for pitch and family; the Fréchet distance is the distance of
:func:`scorekit.audio.log_mel_statistics` to the real training notes, in the real row the distance of as many held-out
notes; the real-time factor is seconds of computing for a second of sound, below 1 faster than real time.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.outputs import write_results
from experiments.data.dataset import Batch, evenly, in_blocks, rows_of
from experiments.data.sound_sets import Notes
from experiments.projects.audio import note_evaluators
from experiments.projects.audio.piano_rolls import pitch_name
from experiments.projects.audio.sound.runs import check_results, open_sounds, write_sound_report
from experiments.reporting.report import ConfigSection
from experiments.reporting.tables import metrics_table
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import at_steps, build_sampler, make_sampler
from experiments.tasks.task import Run, facts
from scorekit import audio, metrics

_WORKDIR = shared.workdir("Folder of a run of experiments.train on notes.")
_STEP, _SEED = shared.step(), shared.seed()
_SCALES = flags.DEFINE_list("scales", None, "Guidance scales; by default from config.evaluation.")
_STEPS = flags.DEFINE_list("steps", None, "Numbers of solver steps; by default from config.sampling.")
_NUM = shared.count("num", 512, "Number of notes.", 8)
_SHOWN = shared.count("shown", 8, "Number of notes with audio widgets.")
REAL = "real held-out notes"


def note_metrics(dataset: Notes) -> tuple[Callable[[np.ndarray, Batch], dict[str, float]], str]:
    """``(sounds, labels) -> metrics`` by evaluators that are fitted to the real training notes, and their caption."""
    sounds, rate = dataset.real(dataset.train), dataset.sample_rate
    evaluators = note_evaluators.fit_note_evaluators(sounds, dataset.train, rate)
    real, distance = features_of(sounds, rate), jax.jit(metrics.frechet_distance)
    caption = (
        f"Pitch: within {note_evaluators.CENTS:g} cents by Praat's autocorrelation, of the {len(evaluators.clear)} "
        f"instruments with nine in ten training notes found. Family: a support vector machine of log-mel statistics. "
        f"Fréchet distance: of log_mel_statistics to {len(real):,} training notes, squared nepers."
    )

    def measure(sounds: np.ndarray, labels: Batch) -> dict[str, float]:
        by_evaluators = note_evaluators.evaluate_notes(evaluators, sounds, labels)
        return {**by_evaluators, "Fréchet distance": float(distance(features_of(sounds, rate), real))}

    return measure, caption


def features_of(sounds: np.ndarray, sample_rate: int) -> np.ndarray:
    """:func:`scorekit.audio.log_mel_statistics` in blocks."""
    run = jax.jit(audio.log_mel_statistics, static_argnums=1)
    return in_blocks(lambda x: run(jnp.asarray(x), sample_rate), sounds, min(500, len(sounds)))


def draw(
    run: Run, config: Config, labels: np.ndarray, scale: float, steps: int, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Sounds ``(N, length)`` with these labels, and their cost without compilation."""
    config = at_steps(config, steps)
    solver, ts = build_sampler(config, run.model.schedule)
    generate = make_sampler(config, run.model, run.dataset, run.extras)
    generate(run.params, seed, labels[: config.sampling.batch_size], scale)
    start = time.monotonic()
    sounds = generate(run.params, seed, labels, scale)
    seconds = (time.monotonic() - start) / len(labels)
    factor = seconds * cast(Notes, run.dataset).sample_rate / sounds.shape[1]
    evaluations = solver.evals_per_step * (len(ts) - 1)
    return sounds, {"evaluations": evaluations, "seconds a note": seconds, "real-time factor": factor}


def main(config: Config) -> Path:
    workdir = check_results(Notes, config, _WORKDIR.value)
    scales: Sequence[float] = config.evaluation.guidance_scales
    scales = shared.guidance_scales("scales", _SCALES.value) if _SCALES.value else list(scales)
    steps = shared.step_counts("steps", _STEPS.value, "6,25") if _STEPS.value else [config.sampling.steps]
    run = open_sounds(config, workdir, _STEP.value, scales)
    dataset, test = run.dataset, run.dataset.test
    num = min(_NUM.value, len(test["x"]))
    target = rows_of(test, slice(num))
    real = dataset.real(target)

    print("fitting evaluators to real training notes …", flush=True)
    measure, caption = note_metrics(dataset)
    rows: dict[str, dict[str, float | None]] = {REAL: dict(measure(real, target))}
    shown = evenly(num, _SHOWN.value)
    sounds = {"held out": real[shown]}
    for n, scale in itertools.product(steps, scales):
        row = f"γ = {scale:g}, {n} steps"
        print(f"drawing {num} notes, {row} …", flush=True)
        drawn, cost = draw(run, config, target["label"], scale, n, _SEED.value)
        rows[row] = {**measure(drawn, target), **cost}
        sounds[row] = drawn[shown]

    out, title = workdir / "notes", f"scorekit: {dataset.name}, evaluation of notes"
    costs = f"Seconds in batches of {config.sampling.batch_size}; a branch of the guidance is an evaluation."
    table = metrics_table(rows, f"{num} notes each. {caption} {costs}")
    write_results(out / "table.json", rows)
    summary = {**facts(run), "guidance": " + ".join(config.guidance), "solver": config.sampling.solver.name}
    summary |= {"seed": _SEED.value, "device": jax.devices()[0].device_kind}
    name = lambda i: f"{dataset.instruments[test['instrument'][i]]}, {pitch_name(int(test['pitch'][i]))}"
    return write_sound_report(
        out / "report.html",
        title,
        summary,
        [table],
        sounds,
        dataset.sample_rate,
        row_labels=[f"{name(i)}, velocity {test['velocity'][i]}" for i in shown],
        further=[ConfigSection((workdir / "config.json").read_text())],
    )


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
