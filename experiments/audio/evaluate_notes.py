"""Draws notes for held-out labels and lets the judges hear them, beside the real held-out notes.

    python -m experiments.audio.evaluate_notes --workdir=runs/notes
    python -m experiments.audio.evaluate_notes --workdir=runs/notes --scales=0,1,2,4 --steps=6,25 --num=512
    python -m experiments.audio.evaluate_notes --workdir=runs/notes --beside=runs/notes_spectrogram

Every note is asked for by the instrument, pitch and velocity of a held-out one, from the same noise at every scale and
number of steps. Prints a table and writes ``report.html`` with players, ``table.json`` and the sounds as WAV files into
``workdir/notes``. ``--beside`` names further runs on the same data, with the sampling that they were saved with.

What the columns mean: :mod:`experiments.evaluation.run_metrics.note_evaluators` for pitch and family; the Fréchet distance is that of
:func:`scorekit.audio.log_mel_statistics` to the real training notes, its real row that of as many held-out notes; the
real-time factor is seconds of computing for a second of sound, below 1 faster than real time.
"""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.models import choices as build, model
from experiments.cli import command_line, progress
from experiments.evaluation.run_metrics import note_evaluators as note_judges
from experiments.reporting import audio_widgets as players
from experiments.models.runs import Experiment, open_experiment, saved_config
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Batch, Dataset, evenly, kind_of
from experiments.reporting.report import Config as ConfigSection
from experiments.reporting.report import Heading, Table, tables_as_text, write_report
from scorekit import audio, metrics
from scorekit.io.files import write_atomic

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train on notes.")
_BESIDE = flags.DEFINE_list("beside", [], "Folders of further runs on the same notes.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_SCALES = flags.DEFINE_list("scales", None, "Guidance scales; those of config.evaluation by default.")
_STEPS = flags.DEFINE_list("steps", None, "Numbers of solver steps; that of config.sampling by default.")
_NUM = flags.DEFINE_integer("num", 512, "Number of notes.", lower_bound=2)
_SHOWN = flags.DEFINE_integer("shown", 8, "Number of notes to listen to.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the noise.")
REAL = "real held-out notes"


class Ear(NamedTuple):
    """The judges, and the features of the training notes."""

    judges: note_judges.Judges
    features: np.ndarray


class Drawn(NamedTuple):
    """Sounds ``(N, length)``, the seconds that one took, and the evaluations of the network."""

    sounds: np.ndarray
    seconds: float
    evaluations: int


def train_ear(dataset: Dataset) -> Ear:
    """Fits the judges to the real training notes."""
    assert dataset.sample_rate is not None
    sounds = dataset.real(dataset.train)
    judges = note_judges.fit_judges(sounds, dataset.train, dataset.sample_rate)
    return Ear(judges, features_of(sounds, dataset.sample_rate))


def features_of(sounds: np.ndarray, sample_rate: int) -> np.ndarray:
    """:func:`scorekit.audio.log_mel_statistics` in batches."""
    run = jax.jit(audio.log_mel_statistics, static_argnums=1)
    parts = [run(jnp.asarray(sounds[i : i + 500]), sample_rate) for i in range(0, len(sounds), 500)]
    return np.concatenate([np.asarray(part) for part in parts])


def listen(ear: Ear, sounds: np.ndarray, asked: Batch) -> dict[str, float]:
    """What the judges say of sounds that are to be the notes of ``asked``, and how far they are from training notes."""
    features = features_of(sounds, int(ear.judges.sample_rate))
    distance = float(jax.jit(metrics.frechet_distance)(features, ear.features))
    return {**note_judges.judge_notes(ear.judges, sounds, asked), "Fréchet distance": distance}


def draw(run: Experiment, config: Config, labels: np.ndarray, scale: float, steps: int, seed: int) -> Drawn:
    """Notes like the held-out ones with these labels, and what they cost once everything is compiled."""
    with config.unlocked():
        config.sampling.steps = steps
    solver, ts = build.build_sampler(config, run.model.schedule)
    generate = model.make_sampler(config, run.model, run.dataset, run.extras)
    generate(run.params, seed, labels[: config.sampling.batch_size], scale)
    start = time.monotonic()
    sounds = generate(run.params, seed, labels, scale)
    return Drawn(sounds, (time.monotonic() - start) / len(labels), solver.evals_per_step * (len(ts) - 1))


def guidance_scales(given: Sequence[str]) -> list[float]:
    """The numbers of ``--scales``, each at least 0."""
    try:
        found = [float(item) for item in given]
    except ValueError:
        found = []
    if not found or not all(0 <= scale < math.inf for scale in found):
        raise ConfigError(f"--scales={','.join(given)}: must be numbers from 0, as in 1,2")
    return found


def describe(row: int, test: Batch, instruments: Sequence[str]) -> str:
    """What a note is, for people: ``Flute, C5, velocity 90``."""
    names = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
    octave, tone = divmod(int(test["pitch"][row]), 12)
    return f"{instruments[test['instrument'][row]]}, {names[tone]}{octave - 1}, velocity {test['velocity'][row]}"


def open_notes(config: Config, workdir: Path, step: int | None, scales: Sequence[float] | None) -> Experiment:
    """The run in ``workdir``, refused if it is not one of notes."""
    if kind_of(config.data.name) != "notes":
        raise ConfigError(f"--workdir={workdir}: must hold a run on notes, and its data are {config.data.name}")
    return open_experiment(config, workdir, step, scales)


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    scales = guidance_scales(_SCALES.value) if _SCALES.value else list(config.evaluation.guidance_scales)
    steps = command_line.steps("steps", _STEPS.value, "6,25") if _STEPS.value else [config.sampling.steps]
    run = open_notes(config, workdir, _STEP.value, scales)
    test, rate = run.dataset.test, run.dataset.sample_rate
    assert rate is not None
    num = min(_NUM.value, len(test["x"]))
    asked = {name: value[:num] for name, value in test.items()}
    real = run.dataset.real(asked)

    print("the judges listen to real training notes …", flush=True)
    ear = train_ear(run.dataset)
    found: dict[str, dict[str, float | None]] = {REAL: dict(listen(ear, real, asked))}
    shown = evenly(num, _SHOWN.value)
    heard = {"held out": real[shown]}
    runs = [(workdir.name, run, config, [(scale, n) for n in steps for scale in scales])]
    for other in _BESIDE.value:
        saved: Config = saved_config(other)
        beside = open_notes(saved, Path(other).expanduser().absolute(), None, None)
        _check_same_notes(other, beside.dataset, run.dataset)
        if Path(other).name in [name for name, *_ in runs]:
            raise ConfigError(f"--beside={other}: the name of its folder is that of another run, and names the rows")
        runs.append((Path(other).name, beside, saved, [(saved.sampling.guidance_scale, saved.sampling.steps)]))
    for name, each, its_config, points in runs:
        for scale, n in points:
            row = f"{f'{name}, ' if len(runs) > 1 else ''}γ = {scale:g}, {n} steps"
            print(f"drawing {num} notes, {row} …", flush=True)
            drawn = draw(each, its_config, asked["label"], scale, n, _SEED.value)
            cost = {"evaluations": drawn.evaluations, "seconds a note": drawn.seconds,
                    "real-time factor": drawn.seconds * rate / real.shape[1]}  # fmt: skip
            found[row] = {**listen(ear, drawn.sounds, asked), **cost}
            heard[row] = drawn.sounds[shown]

    out = workdir / "notes"
    table = _table(found, ear, num, config.sampling.batch_size)
    write_atomic(out / "table.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    labels = [describe(row, test, _instruments(run.dataset, test)) for row in shown]
    sections = [table, Heading("Listen"), players.players(out / "sounds", heard, rate, row_labels=labels,
                caption="Held-out notes, and what was drawn for their instrument, pitch and velocity."),
                ConfigSection((workdir / "config.json").read_text())]  # fmt: skip
    facts = {"data": run.dataset.name, "checkpoint": f"step {run.step:,}", "guidance": " + ".join(config.guidance),
             "solver": config.sampling.solver.name, "device": jax.devices()[0].device_kind}  # fmt: skip
    report = write_report(out / "report.html", f"scorekit: {run.dataset.name}, the judges of notes", facts, sections)
    print(tables_as_text([table]))
    print(progress.final_line(str(report), time.monotonic() - start))


def _table(found: dict[str, dict[str, float | None]], ear: Ear, num: int, batch: int) -> Table:
    columns = list(dict.fromkeys(name for values in found.values() for name in values))
    caption = (
        f"{num} notes each. Pitch: within {note_judges.CENTS:g} cents by Praat's autocorrelation, of the "
        f"{len(ear.judges.clear)} instruments of whose training notes it finds nine in ten. Family: a support vector "
        f"machine of log-mel statistics. Fréchet distance: of log_mel_statistics to {len(ear.features):,} training "
        f"notes, squared nepers. Evaluations of the network, each of two branches where γ is not 0 or 1. Seconds in "
        f"batches of {batch}."
    )
    return Table(["", *columns], [[row, *(values.get(c) for c in columns)] for row, values in found.items()], caption)


def _instruments(dataset: Dataset, test: Batch) -> Sequence[str]:
    """The names of instruments, or their numbers where the set does not say."""
    numbered = [f"instrument {i}" for i in range(1 + test["instrument"].max())]
    return getattr(dataset, "instruments", ()) or numbered


def _check_same_notes(other: str, dataset: Dataset, first: Dataset) -> None:
    if dataset.name != first.name or not np.array_equal(dataset.test["x"], first.test["x"]):
        raise ConfigError(f"--beside={other}: must be a run on the held-out notes of {first.name}, not {dataset.name}")


if __name__ == "__main__":
    command_line.run(main, lambda: saved_config(_WORKDIR.value))
