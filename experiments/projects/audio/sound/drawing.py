"""Common parts of programs about sounds: opening their runs, drawing with another number of steps, evaluating notes."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.flags import check_writable
from experiments.data.dataset import Batch, evenly
from experiments.data.notes import Notes
from experiments.data.sounds import Sounds
from experiments.projects.audio import note_evaluators
from experiments.reporting.grids import pitch_name
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.runs import open_run
from experiments.tasks.diffusion.sampling import at_steps, build_sampler, make_sampler
from experiments.tasks.flows import model as flows
from experiments.tasks.task import Run
from scorekit import audio, metrics


def check_kind(kind: type[Sounds], config: Config, workdir: str | Path | None) -> Path:
    """The folder of a run on this kind of data; nothing is loaded."""
    path = Path(str(workdir)).expanduser().absolute()
    if not issubclass(cast(type, data.KINDS[config.data.name]), kind):
        name = kind.__name__.lower()
        raise ConfigError(f"--workdir={path}: must hold a run on {name}, and its data are {config.data.name}")
    channels = config.data.get("channels") or 1
    require(channels == 1, "data.channels", channels, f"1: this program takes mono sounds, --workdir={path} has others")
    return path


def check_results(kind: type[Sounds], config: Config, workdir: str | Path | None) -> None:
    """Validates that ``workdir`` holds a run on this kind of data and takes results; nothing is loaded."""
    path = check_kind(kind, config, workdir)
    check_writable(path, f"--workdir={path}")


def open_kind(
    kind: type[Sounds], config: Config, workdir: str | Path | None, step: int | None = None, scales=None
) -> tuple[Any, Path]:
    """The run in ``workdir``, of a diffusion or a flow, and its folder."""
    path = check_kind(kind, config, workdir)
    if config.task == "flow":
        return flows.open_run(config, path, step), path
    return open_run(config, path, step, scales, any_coupling=True), path


def other_runs(folders: Sequence[str], first_name: str, first: Notes) -> list[tuple]:
    """``(name, run, config, [(guidance scale, steps)])`` of further runs on the notes of the first one."""
    found, names = [], [first_name]
    for folder in folders:
        config = diffusion.saved(folder)
        run, path = open_kind(Notes, config, folder)
        if run.dataset.name != first.name or not np.array_equal(run.dataset.test["x"], first.test["x"]):
            raise ConfigError(f"--others={folder}: must be a run on the held-out notes of {first.name}")
        if path.name in names:
            raise ConfigError(f"--others={folder}: another run has the same folder name, which names its row")
        names.append(path.name)
        found.append((path.name, run, config, [(config.sampling.guidance_scale, config.sampling.steps)]))
    return found


class Drawn(NamedTuple):
    """Sounds ``(N, length)``, the seconds that one took, and the evaluations of the network."""

    sounds: np.ndarray
    seconds: float
    evaluations: int


def draw(run: Run, config: Config, labels: np.ndarray, scale: float, steps: int, seed: int) -> Drawn:
    """Sounds with these labels, and their cost without compilation."""
    config = at_steps(config, steps)
    solver, ts = build_sampler(config, run.model.schedule)
    generate = make_sampler(config, run.model, run.dataset, run.extras)
    generate(run.params, seed, labels[: config.sampling.batch_size], scale)
    start = time.monotonic()
    sounds = generate(run.params, seed, labels, scale)
    return Drawn(sounds, (time.monotonic() - start) / len(labels), solver.evals_per_step * (len(ts) - 1))


class NoteMetrics(NamedTuple):
    """The evaluators of notes, and the features of the training notes; called on ``(sounds, target)``."""

    evaluators: note_evaluators.NoteEvaluators
    features: np.ndarray

    def __call__(self, sounds: np.ndarray, target: Batch) -> dict[str, float]:
        features = features_of(sounds, int(self.evaluators.sample_rate))
        distance = float(jax.jit(metrics.frechet_distance)(features, self.features))
        limit = jax.jit(metrics.extrapolated_frechet_distance)(jax.random.key(0), features, self.features)
        near = jax.jit(metrics.precision_recall)(self.features[evenly(len(self.features), len(features))], features)
        found = note_evaluators.evaluate_notes(self.evaluators, sounds, target)
        shares = {"precision": float(near.precision), "recall": float(near.recall)}
        return {**found, "Fréchet distance": distance, "without its bias": float(limit), **shares}

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
    parts = [run(jnp.asarray(sounds[i : i + 500]), sample_rate) for i in range(0, len(sounds), 500)]
    return np.concatenate([np.asarray(part) for part in parts])


def note_name(row: int, test: Batch, instruments: Sequence[str]) -> str:
    """A note for people: ``Flute, C5, velocity 90``."""
    pitch = pitch_name(int(test["pitch"][row]))
    return f"{instruments[test['instrument'][row]]}, {pitch}, velocity {test['velocity'][row]}"


def instrument_names(dataset: Notes) -> Sequence[str]:
    """The names of instruments, or their numbers where the set has no names."""
    numbered = [f"instrument {i}" for i in range(1 + int(dataset.test["instrument"].max()))]
    return dataset.instruments or numbered
