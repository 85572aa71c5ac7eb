"""The distance of every method for inverse problems from the true posterior.

    python -m experiments.benchmarks.inverse
    python -m experiments.benchmarks.inverse --workdir=runs/digits

For a Gaussian with full covariance and for a mixture, with exact denoisers in float64, the posterior of a linear
observation has a closed form. The tables hold the error of the mean (RMS over coordinates, in standard deviations of
the posterior), that of the covariance (Frobenius norm, relative to the true one) and the sliced Wasserstein distance to
exact samples, with those of other exact samples for comparison. For a Gaussian the fine ODE is an affine map, and the
first two have no sampling error. With ``--workdir`` also PSNR, consistency and cost on held-out images with a trained
model.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app

from experiments.cli import flags as shared
from experiments.configs import base
from experiments.inverse import methods, tasks
from experiments.models.model import denoiser
from experiments.models.runs import open_run
from experiments.models.samples import check_samples
from experiments.reporting.report import Table, tables_as_text
from scorekit import denoisers, densities, guidance, metrics, samplers, schedules, solvers
from scorekit.guidance import operators
from scorekit.typing import Array

_WORKDIR = shared.workdir("Folder of a run of experiments.train on images, for the second part.")
_SAMPLES = shared.count("samples", 4000, "Samples for each observation.", 16)
_STEPS = shared.count("steps", 200, "Steps of the samplers on exact densities.", 2)
_IMAGES = shared.count("images", 100, "Held-out images.")

SCHEDULE = schedules.cosine()
DIM, OBSERVED, NOISE = 16, 6, 0.3


class Posterior(NamedTuple):
    """A problem and its solution: prior, operator, observation ``(OBSERVED or DIM,)``, noise, exact posterior, mask."""

    prior: densities.Gaussian | densities.Mixture
    operator: operators.Operator
    y: Array
    noise_std: float
    exact: densities.Gaussian | densities.Mixture
    keep: Array | None = None


def condition(prior: densities.Gaussian, matrix: np.ndarray, y: np.ndarray, noise_std: float):
    """``p(x0 | y)`` and ``log p(y)`` of a Gaussian prior."""
    mean, c = np.asarray(prior.mean), np.asarray(prior.covariance())
    total = matrix @ c @ matrix.T + noise_std**2 * np.eye(len(matrix))
    gain, gap = c @ matrix.T @ np.linalg.inv(total), y - matrix @ mean
    rest = c - gain @ matrix @ c
    log_p = -0.5 * (gap @ np.linalg.solve(total, gap) + np.linalg.slogdet(2 * np.pi * total)[1])
    floor = 1e-12 * np.eye(len(c))  # without noise the posterior has no density along observed directions
    return densities.gaussian(jnp.asarray(mean + gain @ gap), covariance=0.5 * (rest + rest.T) + floor), log_p


def _covariance(rng: np.random.Generator) -> np.ndarray:
    basis = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    return basis * np.geomspace(0.05, 3.0, DIM) @ basis.T


def problems() -> dict[str, Posterior]:
    """A Gaussian observed through a matrix with noise, the same with half of it masked and no noise, and a mixture."""
    rng = np.random.default_rng(0)
    prior = densities.gaussian(jnp.asarray(rng.normal(size=DIM)), covariance=jnp.asarray(_covariance(rng)))
    truth = np.asarray(prior.mean) + np.linalg.cholesky(np.asarray(prior.covariance())) @ rng.normal(size=DIM)
    matrix = rng.normal(size=(OBSERVED, DIM)) / 4
    y = matrix @ truth + NOISE * rng.normal(size=OBSERVED)
    projection = jax.tree_util.Partial(_project, jnp.asarray(matrix))
    keep = np.arange(DIM) % 2 == 0
    masked, _ = condition(prior, np.eye(DIM)[keep], truth[keep], 0.0)
    parts = [
        densities.gaussian(jnp.asarray(1.2 * rng.normal(size=DIM)), covariance=jnp.asarray(0.3 * _covariance(rng)))
        for _ in range(5)
    ]
    mixed = densities.mixture(np.ones(5), parts)
    y_mixed = matrix @ np.mean([np.asarray(p.mean) for p in parts[:2]], axis=0) + NOISE * rng.normal(size=OBSERVED)
    posteriors = [condition(p, matrix, y_mixed, NOISE) for p in parts]
    exact, log_p = zip(*posteriors, strict=True)
    weights = np.exp(np.array(log_p) - max(log_p))
    return {
        f"Gaussian, {OBSERVED} projections of {DIM}, noise {NOISE}": Posterior(
            prior, projection, jnp.asarray(y), NOISE, condition(prior, matrix, y, NOISE)[0]
        ),
        f"Gaussian, {keep.sum()} of {DIM} coordinates, no noise": Posterior(
            prior, operators.mask(jnp.asarray(keep)), jnp.asarray(keep * truth), 0.0, masked, jnp.asarray(keep)
        ),
        f"mixture of 5, {OBSERVED} projections of {DIM}, noise {NOISE}": Posterior(
            mixed, projection, jnp.asarray(y_mixed), NOISE, densities.mixture(weights + 1e-12, list(exact))
        ),
    }


def _project(matrix, x):
    return x @ matrix.T


@functools.partial(jax.jit, static_argnames="n")
def _draw(density, key, n: int) -> Array:
    return density.sample(key, (n,))


def posterior_samplers(problem: Posterior, n: int, steps: int) -> dict[str, Callable]:
    """Every method as ``(key, noise) -> samples``, by name."""
    prior = denoisers.exact_denoiser(problem.prior, SCHEDULE)
    y = jnp.broadcast_to(problem.y, (n, *problem.y.shape))
    ts, given = solvers.grids.uniform(steps), (prior, SCHEDULE, problem.operator, y)
    data_std = float(jnp.sqrt(jnp.mean(jnp.var(_draw(problem.prior, jax.random.key(7), 4000), axis=0))))

    def ode(rule):
        return lambda key, x: samplers.sample(None, rule, SCHEDULE, solvers.Heun(), x, ts)

    def ancestral(solver):
        return lambda key, x: samplers.sample(key, prior, SCHEDULE, solver, x, ts)

    normalised = lambda size: solvers.DPS(
        operator=problem.operator, observation=y, inner=solvers.Ancestral(), step_size=size
    )
    rules = {
        "no guidance": ode(prior),
        "replacement": ode(guidance.replacement(*given, problem.noise_std, data_std=data_std)),
        "pigdm": ode(guidance.pigdm(*given, problem.noise_std, data_std=data_std)),
        **{
            f"mmps, {k} iterations": ode(guidance.mmps(*given, problem.noise_std, iterations=k))
            for k in (1, 3, problem.y.size)
        },
        "dps, noise_std 1": ode(guidance.dps(*given, 1.0)),
        **{f"DPS, step_size {size:g}": ancestral(normalised(size)) for size in (0.1, 0.3)},
    }
    if problem.keep is not None:
        repaint = lambda resamples: lambda key, x: samplers.repaint(
            key, prior, SCHEDULE, solvers.Ancestral(), x, ts, problem.keep, y, jump_length=1, resamples=resamples
        )
        rules |= {f"repaint, {r} resamples": repaint(r) for r in (1, 10)}
    return rules


def standardised(noise: Array) -> Array:
    """Noise whose sample mean is 0 and covariance I, so that an affine map has no sampling error."""
    centred = noise - noise.mean(0)
    return jnp.linalg.solve(jnp.linalg.cholesky(jnp.cov(centred.T)), centred.T).T


def exact_table(name: str, problem: Posterior, n: int, steps: int) -> Table:
    """The errors of every method on one problem."""
    noise = jax.jit(standardised)(jax.random.normal(jax.random.key(0), (n, DIM)))
    draws = np.asarray(_draw(problem.exact, jax.random.key(1), 50_000))
    mean, covariance = draws.mean(0), np.cov(draws.T)
    if isinstance(problem.exact, densities.Gaussian):
        mean, covariance = np.asarray(problem.exact.mean), np.asarray(problem.exact.covariance())
    scale = np.sqrt(np.trace(covariance) / DIM)

    def row(label, x):
        x = np.asarray(x)
        if not np.all(np.isfinite(x)) or np.abs(x).max() > 1e6:
            return [label, None, None, None]
        errors = [
            float(np.sqrt(np.mean(np.square(x.mean(0) - mean))) / scale),
            float(np.linalg.norm(np.cov(x.T) - covariance) / np.linalg.norm(covariance)),
        ]
        return [label, *errors, float(metrics.sliced_wasserstein(jax.random.key(3), x, draws[:n]))]

    rows = [row("exact samples", _draw(problem.exact, jax.random.key(2), n))]
    for label, run in posterior_samplers(problem, n, steps).items():
        rows.append(row(label, jax.jit(run)(jax.random.key(4), noise)))
        print(".", end="", flush=True)
    print()
    header = [name, "error of the mean", "of the covariance", "sliced Wasserstein"]
    return Table(header, rows, f"{n:,} samples, {steps} steps; – diverged")


def digits_table(workdir: str, images: int) -> Table:
    """Held-out images restored by every method that applies, with the unconditional prior."""
    run = open_run(base.saved(workdir), Path(workdir).expanduser())
    x = np.asarray(run.dataset.to_model(run.dataset.test["x"][:images]))
    label = run.dataset.test["label"][:images]
    train = np.asarray(run.dataset.to_model(run.dataset.train["x"]))
    classifier = metrics.fit_reference_classifier(train, run.dataset.train["label"])
    prior = denoiser(run.model, run.params, jnp.full(len(x), run.dataset.num_classes))
    options, rows = methods.Options(), []
    for name in ("inpaint", "super_resolution", "deblur"):
        task = tasks.TASKS[name](run.model.shape)
        y = tasks.observe(jax.random.key(0), task, jnp.asarray(x), options.noise_std)
        for method in (m for m in methods.METHODS if methods.fits(task, m)):
            found = methods.restore(method, jax.random.key(1), prior, run.model.schedule, task, y, x.shape, options)
            image = check_samples(np.asarray(run.dataset.from_model(jnp.asarray(found.x))), method, "restored images")
            decibel, consistency = float(metrics.psnr(image, x)), tasks.consistency(task, found.x, y)
            accuracy = metrics.class_accuracy(classifier, image, label)
            rows.append([name, method, decibel, consistency, accuracy, found.evaluations, found.gradients])
    header = ["task", "method", "PSNR (dB)", "RMS of y - A(x)", "class kept", "evaluations", "gradients"]
    return Table(header, rows, f"{len(x)} held-out images of {run.dataset.name}, noise {options.noise_std}")


def show(table: Table) -> None:
    """Prints a table."""
    print(f"\n{tables_as_text([table])}({table.caption})", flush=True)


def main(_) -> None:
    with jax.enable_x64(True):
        for name, problem in problems().items():
            show(exact_table(name, problem, _SAMPLES.value, _STEPS.value))
    if _WORKDIR.value:
        show(digits_table(_WORKDIR.value, _IMAGES.value))


if __name__ == "__main__":
    app.run(main)
