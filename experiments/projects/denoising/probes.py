"""Linear probes of the layers of models by noise level, and the models that a run is compared with."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError, load_resolved, save_resolved
from experiments.configs import base
from experiments.data.dataset import Dataset
from experiments.models.choices import build_times, build_weighting
from experiments.models.run_files import averaged, restore
from experiments.projects.denoising.quick_fit import quick_fit
from experiments.reporting.curves import NOISE_AXIS, Panel, curves, lines
from experiments.reporting.report import Figure, Section
from experiments.reporting.tables import Table
from experiments.tasks.diffusion import objectives
from experiments.tasks.diffusion.model import Model, build_model
from experiments.training import lock
from scorekit import process, training
from scorekit.io.preconditioning import precondition
from scorekit.metrics import fit_linear_probe, probe_accuracy
from scorekit.networks import features, pool
from scorekit.typing import PyTree

TIMES: Mapping[str, Mapping[str, object]] = {
    "class-free": {"name": "uniform"},
    "one level": {"name": "discrete", "ts": (0.15,)},
    "one high level": {"name": "discrete", "ts": (0.4,)},
    "annealed": {"name": "annealed", "first": 0.8, "last": 0.1},
    "several levels": {"name": "discrete", "ts": (0.1, 0.3, 0.5, 0.7)},
}
"""Training times by the name of a model."""


class Reading(NamedTuple):
    """What the probes of one model found: accuracies ``(layers, levels)``, left out and on the test images."""

    levels: Sequence[float]
    left_out: np.ndarray
    test: np.ndarray

    def best(self) -> tuple[int, int]:
        """The layer and level of the highest leave-one-out accuracy."""
        layer, level = np.unravel_index(self.left_out.argmax(), self.left_out.shape)
        return int(layer), int(level)

    def at(self, levels: Sequence[float]) -> np.ndarray:
        """The test accuracy at each level, of the layer with the highest leave-one-out accuracy there."""
        columns = [self.levels.index(level) for level in levels]
        best = self.left_out[:, columns].argmax(axis=0)
        return self.test[best, columns]


def make_features(built: Model, layers: Sequence[str]):
    """``(params, key, x, t) -> {layer: features}`` of noisy images and the null token, pooled to the coarsest layer."""

    @jax.jit
    def compute(params, key, x, t):
        x_t = process.perturb(x, jax.random.normal(key, x.shape, x.dtype), t, built.schedule)
        compute = lambda x, noise: features(built.module, params, x, noise, layers=layers)
        found = precondition(compute, built.preconditioning)(x_t, t)
        cells = min(value.shape[1] for value in found.values())
        return {"pixels": x_t, **{name: pool(value, cells) for name, value in found.items()}}

    return compute


def read(
    built: Model, params: PyTree, dataset: Dataset, layers: Sequence[str], levels: Sequence[float], limit: int
) -> Reading:
    """Probes the pixels, first, and the layers at all noise levels, fitted to at most ``limit`` training images."""
    parts = {name: value[:limit] for name, value in dataset.train.items()}, dataset.test
    images, labels = [dataset.to_model(p["x"]) for p in parts], [p["label"] for p in parts]
    compute = make_features(built, layers)
    left_out, test = np.zeros((2, len(layers) + 1, len(levels)))
    for j, level in enumerate(levels):
        t = built.schedule.time_at(jnp.float32(level))
        keys = jax.random.split(jax.random.key(j))
        train, held_out = (compute(params, key, x, t) for key, x in zip(keys, images, strict=True))
        for i, name in enumerate(("pixels", *layers)):
            fitted = fit_linear_probe(np.asarray(train[name]), labels[0], dataset.num_classes)
            left_out[i, j] = fitted.leave_one_out_accuracy
            test[i, j] = probe_accuracy(fitted, np.asarray(held_out[name]), labels[1])
    return Reading(levels, left_out, test)


def compared(config: Config, name: str, steps: int) -> Config:
    """The config of the run for a model to compare with: class-free, with other times, trained for ``steps``."""
    full = base.get_config()
    full.update(config.copy_and_resolve_references())
    full.loss.label_dropout = 1.0
    full.loss.times.name = "uniform"
    full.loss.times.update({field: None for field in full.loss.times if field != "name"})
    full.loss.times.update(TIMES[name])
    full.training.update(steps=steps, warmup_steps=min(config.training.warmup_steps, steps - 1))
    return full


def trained(config: Config, dataset: Dataset, folder: Path, name: str) -> tuple[Model, PyTree]:
    """The model of this config with its averaged parameters, from ``folder`` if it has been trained before."""
    built, saved = build_model(config, dataset), folder / "config.json"
    fixed = objectives.Denoising(build_times(config), build_weighting(config, built.schedule))
    built = replace(built, objective=fixed)  # whose schedule is not trained
    if saved.exists():
        if load_resolved(saved) != config:
            raise ConfigError(f"--compare={name}: {folder} holds the model of another config or --steps; remove it")
        return built, restore(f"--compare={name}", folder, None, config.sampling.ema)[1]
    with lock.hold(folder):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # of an interrupted run
        (state,) = quick_fit(config, built, dataset, [config.seed], name)
        with training.Checkpoints(folder / "checkpoints") as checkpoints:
            checkpoints.save(config.training.steps, state)
            checkpoints.wait()
    save_resolved(config, saved)  # last, as the mark of a finished folder
    return built, averaged(state, config.sampling.ema)


def layer_table(names: Sequence[str], reading: Reading) -> Table:
    """Layers by levels."""
    return Table(
        ["test accuracy at log-SNR", *(f"{level:g}" for level in reading.levels)],
        [[name, *map(float, values)] for name, values in zip(names, reading.test, strict=True)],
        "Linear probes of this run's layers, with the null token. Log-SNR in nats: the noise falls to the right.",
    )


def model_table(names: Sequence[str], found: Mapping[str, Reading], tests: int) -> Table:
    """Each model at its best layer and level, and the pixels alone."""
    run = found["this run"]
    pixels = Reading(run.levels, run.left_out[:1], run.test[:1])
    rows = []
    for name, reading in [*found.items(), ("pixels alone", pixels)]:
        layer, level = reading.best()
        test = float(reading.test[layer, level])
        error = float(np.sqrt(test * (1 - test) / tests))
        rows.append([name, names[layer], reading.levels[level], float(reading.left_out[layer, level]), test, error])
    header = ["model", "best layer", "best log-SNR", "left-out accuracy", "test accuracy", "standard error"]
    return Table(
        header, rows, "Layer and level are those of the highest leave-one-out accuracy on the training images."
    )


def figures(folder: Path, names: Sequence[str], found: Mapping[str, Reading], levels: Sequence[float]) -> list[Section]:
    """Accuracy by noise level: the layers of this run, and all models at the levels that they share."""
    layers = dict(zip(names, found["this run"].test, strict=True))
    models = {name: reading.at(levels) for name, reading in found.items()}
    panel = lambda x, y, title: [Panel(lines(x, y), NOISE_AXIS, "test accuracy of a linear probe", title)]
    by_layer = curves(folder / "layers.png", panel(found["this run"].levels, layers, "Features by noise level"))
    by_model = curves(folder / "models.png", panel(levels, models, "The same loss with other times"))
    return [
        Figure(by_layer, "Each layer of this run, with the null token, and the noisy image itself."),
        Figure(by_model, "At each level the layer with the best leave-one-out accuracy."),
    ]
