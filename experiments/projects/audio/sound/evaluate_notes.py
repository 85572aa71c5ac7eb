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
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

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
from experiments.projects.audio.sound.runs import check_results, open_kind, write_sound_report
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


class NoteMetrics(NamedTuple):
    """The evaluators of notes, and the features of the training notes; called on ``(sounds, target)``."""

    evaluators: note_evaluators.NoteEvaluators
    features: np.ndarray

    def __call__(self, sounds: np.ndarray, target: Batch) -> dict[str, float]:
        features = features_of(sounds, int(self.evaluators.sample_rate))
        distance = float(jax.jit(metrics.frechet_distance)(features, self.features))
        limit = jax.jit(metrics.extrapolated_frechet_distance)(jax.random.key(0), features, self.features)
        near = jax.jit(metrics.precision_recall)(self.features[evenly(len(self.features), len(features))], features)
        by_evaluators = note_evaluators.evaluate_notes(self.evaluators, sounds, target)
        fractions = {"precision": float(near.precision), "recall": float(near.recall)}
        return {**by_evaluators, "Fréchet distance": distance, "without its bias": float(limit), **fractions}

    def caption(self, num: int, batch: int) -> str:
        """The columns of a table of so many notes in each row, drawn in batches."""
        return (
            f"{num} notes each. Pitch: within {note_evaluators.CENTS:g} cents by Praat's autocorrelation, of the "
            f"{len(self.evaluators.clear)} instruments with nine in ten training notes found. Family: a support "
            f"vector machine of log-mel statistics. Fréchet distance: of log_mel_statistics to "
            f"{len(self.features):,} training notes, squared nepers; without its bias: extrapolated to infinitely many "
            f"notes. Precision, recall: k = 3, against as many training notes. Evaluations of the network, each of two "
            f"branches where γ is not 0 or 1. Seconds in batches of {batch}."
        )


def note_metrics(dataset: Notes) -> NoteMetrics:
    """Fits the evaluators to the real training notes."""
    sounds = dataset.real(dataset.train)
    evaluators = note_evaluators.fit_note_evaluators(sounds, dataset.train, dataset.sample_rate)
    return NoteMetrics(evaluators, features_of(sounds, dataset.sample_rate))


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


def note_name(row: int, test: Batch, instruments: Sequence[str]) -> str:
    """A note for people: ``Flute, C5, velocity 90``; an instrument by its number where the set has no names."""
    pitch, instrument = pitch_name(int(test["pitch"][row])), test["instrument"][row]
    return f"{instruments[instrument] if instruments else instrument}, {pitch}, velocity {test['velocity'][row]}"


def main(config: Config) -> Path:
    check_results(Notes, config, _WORKDIR.value)
    scales: Sequence[float] = config.evaluation.guidance_scales
    scales = shared.guidance_scales("scales", _SCALES.value) if _SCALES.value else list(scales)
    steps = shared.step_counts("steps", _STEPS.value, "6,25") if _STEPS.value else [config.sampling.steps]
    run, workdir = open_kind(Notes, config, _WORKDIR.value, _STEP.value, scales)
    dataset, test = run.dataset, run.dataset.test
    num = min(_NUM.value, len(test["x"]))
    target = rows_of(test, slice(num))
    real = dataset.real(target)

    print("fitting evaluators to real training notes …", flush=True)
    evaluator = note_metrics(dataset)
    rows: dict[str, dict[str, float | None]] = {REAL: dict(evaluator(real, target))}
    shown = evenly(num, _SHOWN.value)
    sounds = {"held out": real[shown]}
    for n, scale in itertools.product(steps, scales):
        row = f"γ = {scale:g}, {n} steps"
        print(f"drawing {num} notes, {row} …", flush=True)
        drawn, cost = draw(run, config, target["label"], scale, n, _SEED.value)
        rows[row] = {**evaluator(drawn, target), **cost}
        sounds[row] = drawn[shown]

    out, title = workdir / "notes", f"scorekit: {dataset.name}, evaluation of notes"
    table = metrics_table(rows, evaluator.caption(num, config.sampling.batch_size))
    write_results(out / "table.json", rows)
    summary = {**facts(run), "guidance": " + ".join(config.guidance), "solver": config.sampling.solver.name}
    summary |= {"seed": _SEED.value, "device": jax.devices()[0].device_kind}
    return write_sound_report(
        out / "report.html",
        title,
        summary,
        [table],
        sounds,
        dataset.sample_rate,
        folder=out / "sounds",
        row_labels=[note_name(row, test, dataset.instruments) for row in shown],
        caption="Held-out notes; samples with their instrument, pitch and velocity.",
        further=[ConfigSection((workdir / "config.json").read_text())],
    )


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
