"""Restoring and editing held-out images, with a table and an image of every version."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import progress
from experiments.cli.config import Config, require
from experiments.models.samples import check_samples
from experiments.reporting.tables import Table, show
from experiments.tasks.diffusion.build import build_rules, build_sampler, sampler_of
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.diffusion.inverse import methods, tasks
from experiments.tasks.diffusion.inverse.methods import Options
from experiments.tasks.task import Run
from scorekit import metrics, samplers
from scorekit.typing import Array, Denoiser

EDITS = ("sdedit", "invert")
Columns = dict[str, np.ndarray]


class Truth(NamedTuple):
    """Held-out images as the network receives them, their classes, and the reference classifier."""

    x: Array
    label: Array
    classifier: Any

    def accuracy(self, images, labels) -> float:
        """The fraction of images of these classes."""
        return metrics.class_accuracy(self.classifier, np.asarray(images), np.asarray(labels))

    def psnr(self, images) -> float:
        """The likeness to the true images in dB."""
        return float(metrics.psnr(np.asarray(images), np.asarray(self.x)))


def restore(
    run: Run, truth: Truth, name: str, chosen: tuple[str, ...], options: Options, prior: str, seed: int
) -> tuple[Columns, Table]:
    """An inverse problem, solved by several methods.

    Args:
      name: one of :data:`experiments.tasks.diffusion.inverse.tasks.TASKS`.
      chosen: the methods; all that apply if empty.
      options: their hyper-parameters.
      prior: "null", or "class" for the prior of the true class.
      seed: of all noise.

    Returns:
      Every version of the images by name, and its metrics.
    """
    x, label = truth.x, truth.label
    task = tasks.TASKS[name](run.model.shape)
    for method in chosen:
        methods.check_applicable(name, task, method)
    chosen = chosen or tuple(method for method in methods.METHODS if methods.fits(task, method))
    for_noise, key = jax.random.split(jax.random.key(seed))
    y = tasks.observe(for_noise, task, x, options.noise_std)
    null = jnp.full_like(label, run.dataset.num_classes)
    denoiser = run.model.denoiser(run.params, label if prior == "class" else null)
    shown = task.shown(np.asarray(y))
    columns: Columns = {"original": np.asarray(x), "observation": shown}
    visible, rest = np.clip(shown, -1, 1), [None] * 3
    rows: list[list] = [
        ["original", None, tasks.consistency(task, np.asarray(x), y), truth.accuracy(x, label), *rest],
        ["observation", truth.psnr(visible), None, truth.accuracy(visible, label), *rest],
    ]
    for method in chosen:
        begin = time.monotonic()
        restored = methods.restore(method, key, denoiser, run.model.schedule, task, y, x.shape, options)
        seconds = time.monotonic() - begin
        by = f"--method={method}; leave it out by naming the others"
        image = check_samples(np.asarray(run.dataset.from_model(jnp.asarray(restored.x))), by, "restored images")
        columns[f"{method}\n{truth.psnr(image):.1f} dB"] = image
        quality = truth.psnr(image), tasks.consistency(task, restored.x, y), truth.accuracy(image, label)
        rows.append([method, *quality, restored.evaluations, restored.gradients, seconds])
    header = ["", "PSNR (dB)", "RMS of y - A(x)", "class kept", "evaluations", "gradients", "seconds"]
    return columns, Table(header, rows, f"noise {options.noise_std:g}, {prior} prior")


def sdedit(
    config: Config, run: Run, truth: Truth, target: int | None, strengths: list[float], seed: int
) -> tuple[Columns, Table]:
    """Noise to each time of ``strengths`` and back as the class ``target``, the next one if None."""
    x, targets, key = truth.x, _targets(run, truth, target), jax.random.key(seed)
    solver, ts = build_sampler(config, run.model.schedule)
    columns: Columns = {"original": np.asarray(x)}
    rows = [_row(truth, x, targets, "original", 0, 0.0)]
    edit = jax.jit(samplers.sdedit)
    with progress.Progress(len(strengths), batch_size=len(x), label="sdedit") as bar:
        for i, t in enumerate(strengths):
            begin = time.monotonic()
            grid = jnp.concatenate([jnp.array([t]), ts[ts < t]])
            out = edit(key, _guided(config, run, targets), run.model.schedule, solver, x, grid)
            image = check_samples(np.asarray(run.dataset.from_model(out)), sampler_of(config), "edited images")
            columns[f"from t = {t:g}"] = image
            seconds = time.monotonic() - begin
            rows.append(_row(truth, image, targets, f"from t = {t:g}", samplers.nfe(solver, grid), seconds))
            bar.update(i + 1)
    return columns, Table(_HEADER, rows, _caption(config, run, target))


def invert(config: Config, run: Run, truth: Truth, target: int | None) -> tuple[Columns, Table]:
    """Encode as the true class, decode as the class ``target``, the next one if None."""
    x, targets, schedule = truth.x, _targets(run, truth, target), run.model.schedule
    solver, ts = build_sampler(config, schedule)
    allowed = "deterministic for --task=invert, as dpmpp_2m is"
    require(not solver.stochastic, "sampling.solver.name", config.sampling.solver.name, allowed)
    own, other = run.model.denoiser(run.params, truth.label), _guided(config, run, targets)
    begin = time.monotonic()
    with progress.Progress(3, batch_size=len(x), label="invert") as bar:
        noise = jax.jit(samplers.invert)(own, schedule, solver, x, ts)
        bar.update(1)
        sample = jax.jit(samplers.sample)
        back = np.asarray(run.dataset.from_model(sample(own, schedule, solver, noise, ts)))
        bar.update(2)
        edited = np.asarray(run.dataset.from_model(sample(other, schedule, solver, noise, ts)))
        bar.update(3)
    check_samples((np.asarray(noise), back, edited), sampler_of(config), "edited images")
    seconds, evaluations = time.monotonic() - begin, samplers.nfe(solver, ts)
    columns = {"original": np.asarray(x), "noise": np.asarray(noise) / 2, "back": back, "edited": edited}
    rows = [
        _row(truth, x, targets, "original", 0, 0.0),
        _row(truth, back, targets, "back", 2 * evaluations, None),
        _row(truth, edited, targets, "edited", 2 * evaluations, seconds),
    ]
    return columns, Table(_HEADER, rows, _caption(config, run, target))


_HEADER = ["", "PSNR to original (dB)", "class kept", "target class", "evaluations", "seconds"]


def _targets(run: Run, truth: Truth, target: int | None) -> Array:
    return (truth.label + 1) % run.dataset.num_classes if target is None else jnp.full_like(truth.label, target)


def _guided(config: Config, run: Run, label: Array) -> Denoiser:
    """The prior of a class with the rules of ``config.guidance``."""
    scale = config.sampling.guidance_scale
    return make_guided(build_rules(config), run.model)(run.params, label, None if scale == 1 else scale, run.extras)


def _row(truth: Truth, image, targets: Array, name: str, evaluations: int, seconds: float | None) -> list:
    kept, reached = (truth.accuracy(image, to) for to in (truth.label, targets))
    likeness = None if name == "original" else truth.psnr(image)
    return [name, likeness, kept, reached, evaluations or None, seconds or None]


def _caption(config: Config, run: Run, target: int | None) -> str:
    to = "the next class" if target is None else f"class {run.dataset.named([target])[0]}"
    by, scale = ", ".join(config.guidance), show(config.sampling.guidance_scale)
    return f"to {to} by {by} at γ = {scale}; an evaluation is one call of all branches of the rules"
