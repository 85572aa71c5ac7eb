"""Restoring and editing held-out images, with a table and a picture of every version."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import progress
from experiments.cli.config import Config, ConfigError
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


class Request(NamedTuple):
    """A task and its images.

    Attributes:
      task: a name of :data:`experiments.tasks.diffusion.inverse.tasks.TASKS` or of :data:`EDITS`.
      x: images as the network receives them.
      label: their classes.
      classifier: the reference classifier.
      seed: seed of all noise.
      methods: names of those that restore; all that apply if empty.
      options: their hyper-parameters.
      prior: "null", or "class" for the prior of the true class.
      target: the class to edit to; the next one if None.
      strengths: times at which SDEdit starts.
    """

    task: str
    x: Array
    label: Array
    classifier: Any
    seed: int
    methods: tuple[str, ...]
    options: Options
    prior: str
    target: int | None
    strengths: tuple[float, ...]


def process(config: Config, run: Run, request: Request) -> tuple[Columns, Table]:
    """Every version of the images by name, and its metrics."""
    edit = {"sdedit": _sdedit, "invert": _invert}.get(request.task)
    return _restore(run, request) if edit is None else edit(config, run, request)


def _accuracy(request: Request, images, labels) -> float:
    return metrics.class_accuracy(request.classifier, np.asarray(images), np.asarray(labels))


def _psnr(images, truth) -> float:
    return float(metrics.psnr(np.asarray(images), np.asarray(truth)))


def _restore(run: Run, request: Request) -> tuple[Columns, Table]:
    """An inverse problem, solved by several methods."""
    x, label, options = request.x, request.label, request.options
    task = tasks.TASKS[request.task](run.model.shape)
    for method in request.methods:
        methods.check_applicable(request.task, task, method)
    chosen = request.methods or [name for name in methods.METHODS if methods.fits(task, name)]
    for_noise, key = jax.random.split(jax.random.key(request.seed))
    y = tasks.observe(for_noise, task, x, options.noise_std)
    null = jnp.full_like(label, run.dataset.num_classes)
    prior = run.model.denoiser(run.params, label if request.prior == "class" else null)
    picture = task.picture(np.asarray(y))
    columns: Columns = {"original": np.asarray(x), "observation": picture}
    visible, rest = np.clip(picture, -1, 1), [None] * 3
    rows: list[list] = [
        ["original", None, tasks.consistency(task, np.asarray(x), y), _accuracy(request, x, label), *rest],
        ["observation", _psnr(visible, x), None, _accuracy(request, visible, label), *rest],
    ]
    for method in chosen:
        begin = time.monotonic()
        found = methods.restore(method, key, prior, run.model.schedule, task, y, x.shape, options)
        seconds = time.monotonic() - begin
        by = f"--method={method}; leave it out by naming the others"
        image = check_samples(np.asarray(run.dataset.from_model(jnp.asarray(found.x))), by, "restored images")
        columns[f"{method}\n{_psnr(image, x):.1f} dB"] = image
        quality = _psnr(image, x), tasks.consistency(task, found.x, y), _accuracy(request, image, label)
        rows.append([method, *quality, found.evaluations, found.gradients, seconds])
    header = ["", "PSNR (dB)", "RMS of y - A(x)", "class kept", "evaluations", "gradients", "seconds"]
    return columns, Table(header, rows, f"noise {options.noise_std:g}, {request.prior} prior")


def _targets(run: Run, request: Request) -> Array:
    if request.target is None:
        return (request.label + 1) % run.dataset.num_classes
    return jnp.full_like(request.label, request.target)


def _guided(config: Config, run: Run, label: Array) -> Denoiser:
    """The prior of a class with the rules of ``config.guidance``."""
    scale = config.sampling.guidance_scale
    return make_guided(build_rules(config), run.model)(run.params, label, None if scale == 1 else scale, run.extras)


def _sdedit(config: Config, run: Run, request: Request) -> tuple[Columns, Table]:
    """Noise to a time t and back as another class."""
    x, targets, key = request.x, _targets(run, request), jax.random.key(request.seed)
    solver, ts = build_sampler(config, run.model.schedule)
    columns: Columns = {"original": np.asarray(x)}
    rows = [_row(request, x, targets, "original", 0, 0.0)]
    edit = jax.jit(samplers.sdedit)
    with progress.Progress(len(request.strengths), batch_size=len(x), label="sdedit") as bar:
        for i, t in enumerate(request.strengths):
            begin = time.monotonic()
            grid = jnp.concatenate([jnp.array([t]), ts[ts < t]])
            out = edit(key, _guided(config, run, targets), run.model.schedule, solver, x, grid)
            image = check_samples(np.asarray(run.dataset.from_model(out)), sampler_of(config), "edited images")
            columns[f"from t = {t:g}"] = image
            seconds = time.monotonic() - begin
            rows.append(_row(request, image, targets, f"from t = {t:g}", samplers.nfe(solver, grid), seconds))
            bar.update(i + 1)
    return columns, Table(_HEADER, rows, _caption(config, run, request))


def _invert(config: Config, run: Run, request: Request) -> tuple[Columns, Table]:
    """Encode as the true class, decode as another."""
    x, targets, schedule = request.x, _targets(run, request), run.model.schedule
    solver, ts = build_sampler(config, schedule)
    if solver.stochastic:
        name = config.sampling.solver.name
        raise ConfigError(f"config.sampling.solver.name={name}: --task=invert needs a deterministic one, as dpmpp_2m")
    source, target = run.model.denoiser(run.params, request.label), _guided(config, run, targets)
    begin = time.monotonic()
    with progress.Progress(3, batch_size=len(x), label="invert") as bar:
        noise = jax.jit(samplers.invert)(source, schedule, solver, x, ts)
        bar.update(1)
        sample = jax.jit(samplers.sample)
        back = np.asarray(run.dataset.from_model(sample(None, source, schedule, solver, noise, ts)))
        bar.update(2)
        edited = np.asarray(run.dataset.from_model(sample(None, target, schedule, solver, noise, ts)))
        bar.update(3)
    check_samples((np.asarray(noise), back, edited), sampler_of(config), "edited images")
    seconds, evaluations = time.monotonic() - begin, samplers.nfe(solver, ts)
    columns = {"original": np.asarray(x), "noise": np.asarray(noise) / 2, "back": back, "edited": edited}
    rows = [
        _row(request, x, targets, "original", 0, 0.0),
        _row(request, back, targets, "back", 2 * evaluations, None),
        _row(request, edited, targets, "edited", 2 * evaluations, seconds),
    ]
    return columns, Table(_HEADER, rows, _caption(config, run, request))


_HEADER = ["", "PSNR to original (dB)", "class kept", "target class", "evaluations", "seconds"]


def _row(request: Request, image, targets: Array, name: str, evaluations: int, seconds: float | None) -> list:
    kept, reached = (_accuracy(request, image, to) for to in (request.label, targets))
    likeness = None if name == "original" else _psnr(image, request.x)
    return [name, likeness, kept, reached, evaluations or None, seconds or None]


def _caption(config: Config, run: Run, request: Request) -> str:
    to = "the next class" if request.target is None else f"class {run.dataset.named([request.target])[0]}"
    by = ", ".join(config.guidance)
    scale = show(config.sampling.guidance_scale)
    return f"to {to} by {by} at γ = {scale}; an evaluation is one call of all branches of the rules"
