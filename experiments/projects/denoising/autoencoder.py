"""The denoiser as autoencoder: how well a linear probe reads the class off each layer, by noise level.

    python -m experiments.projects.denoising.autoencoder --workdir=runs/digits
    python -m experiments.projects.denoising.autoencoder --workdir=runs/digits --levels=-4,0,4,8 \
        --compare=runs/one_level,runs/annealed

Probes the residual blocks of the class-free model (the null token) at every noise level: a ridge regression on the
training images, tested on the test images. ``--compare`` probes other runs on the same images, such as the denoising
autoencoders of :mod:`scorekit.times`, which are the same loss with other times (``configs/images/digits.py``), at every
second level. Tables and a figure are in ``workdir/autoencoder/report.html``.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Dataset
from experiments.data.display import Pictures
from experiments.reporting.curves import NOISE_AXIS, Panel, curves, lines
from experiments.reporting.report import Figure, write_report
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.runs import open_score
from experiments.tasks.task import facts
from scorekit import process
from scorekit.io.preconditioning import precondition
from scorekit.metrics import fit_linear_probe, probe_accuracy
from scorekit.networks import features, layer_names, pool
from scorekit.typing import PyTree

_WORKDIR, _STEP = shared.workdir(), shared.step()
_LEVELS = flags.DEFINE_list(
    "levels", ["-4", "-2", "-1", "0", "1", "2", "3", "4", "6", "8", "10"], "Log-SNRs in nats, increasing."
)
_COMPARE = flags.DEFINE_list("compare", [], "Folders of other runs on the same images.")
_LIMIT = flags.DEFINE_integer("examples", 5000, "Training images that a probe is fitted to, at most.", lower_bound=20)


class Reading(NamedTuple):
    """Accuracies of the probes of a model ``(layers, levels)``, left out and on the test images."""

    layers: Sequence[str]
    levels: Sequence[float]
    left_out: np.ndarray
    test: np.ndarray

    def at(self, levels: Sequence[float]) -> np.ndarray:
        """The test accuracy at each level, of the layer with the highest leave-one-out accuracy there."""
        columns = [self.levels.index(level) for level in levels]
        return self.test[self.left_out[:, columns].argmax(axis=0), columns]

    def best(self, tests: int) -> list[Cell]:
        """The layer and level of the highest leave-one-out accuracy, this accuracy, the test accuracy and its error."""
        layer, level = map(int, np.unravel_index(self.left_out.argmax(), self.left_out.shape))
        test = float(self.test[layer, level])
        error = math.sqrt(test * (1 - test) / tests)
        return [self.layers[layer], self.levels[level], float(self.left_out[layer, level]), test, error]


def residual_blocks(model: Model, params: PyTree) -> list[str]:
    """The layers that are probed, from the input on."""
    like = jax.ShapeDtypeStruct((1, *model.shape), jnp.float32)
    names = layer_names(model.module, params, like, 0.0)
    return [name for name in names if name.startswith(("down", "middle", "up")) and name.endswith("_block")]


def make_features(model: Model, layers: Sequence[str]):
    """``(params, key, x, t) -> {layer: features}`` of noisy images and the null token, pooled to the coarsest layer."""

    @jax.jit
    def compute(params, key, x, t):
        x_t = process.perturb(model.schedule, x, jax.random.normal(key, x.shape, x.dtype), t)
        of_layers = lambda x, noise: features(model.module, params, x, noise, layers=layers)
        values = precondition(of_layers, model.preconditioning)(x_t, t)
        cells = min(value.shape[1] for value in values.values())
        return {"noisy pixels": x_t, **{name: pool(value, cells) for name, value in values.items()}}

    return compute


def read(model: Model, params: PyTree, dataset: Dataset, levels: Sequence[float], limit: int) -> Reading:
    """Probes the pixels, first, and the layers at all noise levels, fitted to at most ``limit`` training images."""
    parts = {name: value[:limit] for name, value in dataset.train.items()}, dataset.test
    images, labels = [dataset.to_model(p["x"]) for p in parts], [p["label"] for p in parts]
    layers = residual_blocks(model, params)
    names, compute = ["noisy pixels", *layers], make_features(model, layers)
    left_out, test = np.zeros((2, len(names), len(levels)))
    for j, level in enumerate(levels):
        t = model.schedule.time_at(jnp.float32(level))
        keys = jax.random.split(jax.random.key(j))
        train, held_out = (compute(params, key, x, t) for key, x in zip(keys, images, strict=True))
        for i, name in enumerate(names):
            fitted = fit_linear_probe(np.asarray(train[name]), labels[0], dataset.num_classes)
            left_out[i, j] = fitted.leave_one_out_accuracy
            test[i, j] = probe_accuracy(fitted, np.asarray(held_out[name]), labels[1])
    return Reading(names, levels, left_out, test)


def tables(readings: Mapping[str, Reading], tests: int) -> list[Table]:
    """The layers of the first model by levels; each model, and the pixels alone, at its best layer and level."""
    run = next(iter(readings.values()))
    by_layer = Table(
        ["test accuracy at log-SNR", *(f"{level:g}" for level in run.levels)],
        [[name, *map(float, values)] for name, values in zip(run.layers, run.test, strict=True)],
        "Linear probes of this run's layers, with the null token. Log-SNR in nats: the noise falls to the right.",
    )
    pixels = Reading(run.layers[:1], run.levels, run.left_out[:1], run.test[:1])
    rows = [[name, *reading.best(tests)] for name, reading in {**readings, "pixels alone": pixels}.items()]
    header = ["model", "best layer", "best log-SNR", "left-out accuracy", "test accuracy", "standard error"]
    caption = "Layer and level are those of the highest leave-one-out accuracy on the training images."
    return [by_layer, Table(header, rows, caption)]


def figure(folder: Path, readings: Mapping[str, Reading], levels: Sequence[float]) -> Figure:
    """Accuracy by noise level: the layers of the first model, and all models at the levels that they share."""
    run, label = next(iter(readings.values())), "test accuracy of a linear probe"
    layers = dict(zip(run.layers, run.test, strict=True))
    models = {name: reading.at(levels) for name, reading in readings.items()}
    panels = [
        Panel(lines(run.levels, layers), NOISE_AXIS, label, "Layers of this run"),
        Panel(lines(levels, models), NOISE_AXIS, label, "The best layer of each model"),
    ]
    caption = "Left each layer, with the null token, and the noisy image; right the best by leave-one-out accuracy."
    return Figure(curves(folder / "features.png", panels), caption)


def main(config: Config) -> Path:
    workdir = shared.path(_WORKDIR)
    shared.check_writable(workdir, f"--workdir={workdir}")
    levels = shared.increasing("levels", _LEVELS.value, -math.inf)
    run = open_score(config, workdir, _STEP.value)
    if not isinstance(run.dataset.view(np.zeros((1, *run.model.shape))), Pictures):
        raise ConfigError(f"--workdir={_WORKDIR.value}: its data must be images, they are {run.dataset.name}")
    others = {}
    for path in map(Path, _COMPARE.value):
        with shared.named("compare"):
            other = others[path.name] = open_score(diffusion.saved(str(path)), path)
        if other.dataset.name != run.dataset.name:
            raise ConfigError(f"--compare={path}: its data must be {run.dataset.name}, they are {other.dataset.name}")

    print(f"probing step {run.step:,} at {len(levels)} noise levels …", flush=True)
    readings = {"this run": read(run.model, run.params, run.dataset, levels, _LIMIT.value)}
    fewer = levels[::-2][::-1]  # every other one, and the last
    models = {"untrained network": (run.model, run.model.init(jax.random.key(config.seed)))}
    models |= {name: (other.model, other.params) for name, other in others.items()}
    for name, model in models.items():
        print(f"probing {name} …", flush=True)
        readings[name] = read(*model, run.dataset, fewer, _LIMIT.value)
    folder, numbers = workdir / "autoencoder", tables(readings, len(run.dataset.test["label"]))
    sections = [figure(folder, readings, fewer), *numbers]
    report = write_report(folder / "report.html", "The denoiser as autoencoder", facts(run), sections)
    print(tables_as_text(numbers))
    return report


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
