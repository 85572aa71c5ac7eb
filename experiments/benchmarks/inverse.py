"""How near each method for inverse problems comes to the true posterior.

    python -m experiments.benchmarks.inverse
    python -m experiments.benchmarks.inverse --workdir=runs/digits

On a Gaussian with full covariance and on a mixture, with exact denoisers in float64, the posterior of a linear
observation is known in closed form. The tables hold the error of the mean (RMS over coordinates, in standard deviations
of the posterior), that of the covariance (Frobenius norm over that of the truth) and the sliced Wasserstein distance to
exact draws, beside those of other exact draws. On a Gaussian the fine ODE is an affine map, and the first two have no
sampling error. With ``--workdir`` also PSNR, consistency and cost on held-out images of a trained model.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments import judge
from experiments.cli import command_line
from experiments.inverse import restoration
from experiments.models import model
from experiments.models import runs as checkpoint
from experiments.reporting.report import Table, tables_as_text
from scorekit import denoisers, densities, guidance, metrics, samplers, schedules, solvers
from scorekit.guidance import operators
from scorekit.typing import Array

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train on images, for the second half.")
_SAMPLES = flags.DEFINE_integer("samples", 4000, "Samples for each observation.", lower_bound=16)
_STEPS = flags.DEFINE_integer("steps", 200, "Steps of the samplers on exact densities.", lower_bound=2)
_IMAGES = flags.DEFINE_integer("images", 100, "Held-out images.", lower_bound=1)

SCHEDULE = schedules.cosine()
DIM, SEEN, NOISE = 16, 6, 0.3


class Posterior(NamedTuple):
    """A problem with its answer: prior, operator, observation ``(SEEN or DIM,)``, noise, and the exact posterior."""

    prior: densities.Gaussian | densities.Mixture
    operator: operators.Operator
    y: Array
    noise_std: float
    answer: densities.Gaussian | densities.Mixture
    keep: Array | None = None


def condition(prior: densities.Gaussian, matrix: np.ndarray, y: np.ndarray, noise_std: float):
    """``p(x0 | y)`` and ``log p(y)`` of a Gaussian prior."""
    mean, c = np.asarray(prior.mean), np.asarray(prior.covariance())
    spread = matrix @ c @ matrix.T + noise_std**2 * np.eye(len(matrix))
    gain, gap = c @ matrix.T @ np.linalg.inv(spread), y - matrix @ mean
    rest = c - gain @ matrix @ c
    log_p = -0.5 * (gap @ np.linalg.solve(spread, gap) + np.linalg.slogdet(2 * np.pi * spread)[1])
    floor = 1e-12 * np.eye(len(c))  # without noise the posterior has no density in the directions that were seen
    return densities.gaussian(jnp.asarray(mean + gain @ gap), covariance=0.5 * (rest + rest.T) + floor), log_p


def _covariance(rng: np.random.Generator) -> np.ndarray:
    basis = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    return basis * np.geomspace(0.05, 3.0, DIM) @ basis.T


def problems() -> dict[str, Posterior]:
    """A Gaussian seen through a matrix with noise, the same with half of it masked and no noise, and a mixture."""
    rng = np.random.default_rng(0)
    prior = densities.gaussian(jnp.asarray(rng.normal(size=DIM)), covariance=jnp.asarray(_covariance(rng)))
    truth = np.asarray(prior.mean) + np.linalg.cholesky(np.asarray(prior.covariance())) @ rng.normal(size=DIM)
    matrix = rng.normal(size=(SEEN, DIM)) / 4
    y = matrix @ truth + NOISE * rng.normal(size=SEEN)
    through = jax.tree_util.Partial(_through, jnp.asarray(matrix))
    keep = np.arange(DIM) % 2 == 0
    answer, _ = condition(prior, np.eye(DIM)[keep], truth[keep], 0.0)
    parts = [
        densities.gaussian(jnp.asarray(1.2 * rng.normal(size=DIM)), covariance=jnp.asarray(0.3 * _covariance(rng)))
        for _ in range(5)
    ]
    mixed = densities.mixture(np.ones(5), parts)
    y_mixed = matrix @ np.mean([np.asarray(p.mean) for p in parts[:2]], axis=0) + NOISE * rng.normal(size=SEEN)
    known = [condition(p, matrix, y_mixed, NOISE) for p in parts]
    weights = np.exp([log_p for _, log_p in known] - max(log_p for _, log_p in known))
    return {
        f"Gaussian, {SEEN} projections of {DIM}, noise {NOISE}": Posterior(
            prior, through, jnp.asarray(y), NOISE, condition(prior, matrix, y, NOISE)[0]
        ),
        f"Gaussian, {keep.sum()} of {DIM} coordinates, no noise": Posterior(
            prior, operators.mask(jnp.asarray(keep)), jnp.asarray(keep * truth), 0.0, answer, jnp.asarray(keep)
        ),
        f"mixture of 5, {SEEN} projections of {DIM}, noise {NOISE}": Posterior(
            mixed, through, jnp.asarray(y_mixed), NOISE, densities.mixture(weights + 1e-12, [p for p, _ in known])
        ),
    }


def _through(matrix, x):
    return x @ matrix.T


def methods(problem: Posterior, n: int, steps: int) -> dict[str, Callable]:
    """Name -> ``(key, noise) -> samples``."""
    prior = denoisers.exact_denoiser(problem.prior, SCHEDULE)
    y = jnp.broadcast_to(problem.y, (n, *problem.y.shape))
    ts, given = solvers.grids.uniform(steps), (prior, SCHEDULE, problem.operator, y)
    spread = float(jnp.sqrt(jnp.mean(jnp.var(problem.prior.sample(jax.random.key(7), (4000,)), axis=0))))

    def ode(rule):
        return lambda key, x: samplers.sample(None, rule, SCHEDULE, solvers.Heun(), x, ts)

    def ancestral(solver):
        return lambda key, x: samplers.sample(key, prior, SCHEDULE, solver, x, ts)

    normalised = lambda size: solvers.DPS(
        operator=problem.operator, observation=y, inner=solvers.Ancestral(), step_size=size
    )
    rules = {
        "no guidance": ode(prior),
        "replacement": ode(guidance.replacement(*given, problem.noise_std, data_std=spread)),
        "pigdm": ode(guidance.pigdm(*given, problem.noise_std, data_std=spread)),
        **{
            f"mmps, {k} iterations": ode(guidance.mmps(*given, problem.noise_std, iterations=k))
            for k in (1, 3, problem.y.size)
        },
        "dps, noise_std 1": ode(guidance.dps(*given, 1.0)),
        **{f"DPS, step_size {size:g}": ancestral(normalised(size)) for size in (0.1, 0.3)},
    }
    if problem.keep is not None:
        walk = lambda resamples: lambda key, x: samplers.repaint(
            key, prior, SCHEDULE, solvers.Ancestral(), x, ts, problem.keep, y, jump_length=1, resamples=resamples
        )
        rules |= {f"repaint, {r} resamples": walk(r) for r in (1, 10)}
    return rules


def standardised(noise: Array) -> Array:
    """Noise whose sample mean is 0 and covariance I, so that an affine map has no sampling error."""
    centred = noise - noise.mean(0)
    return jnp.linalg.solve(jnp.linalg.cholesky(jnp.cov(centred.T)), centred.T).T


def exact_table(name: str, problem: Posterior, n: int, steps: int) -> Table:
    """Every method on one problem."""
    noise = standardised(jax.random.normal(jax.random.key(0), (n, DIM)))
    draws = np.asarray(problem.answer.sample(jax.random.key(1), (50_000,)))
    mean, covariance = draws.mean(0), np.cov(draws.T)
    if isinstance(problem.answer, densities.Gaussian):
        mean, covariance = np.asarray(problem.answer.mean), np.asarray(problem.answer.covariance())
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

    rows = [row("exact draws", problem.answer.sample(jax.random.key(2), (n,)))]
    for label, run in methods(problem, n, steps).items():
        rows.append(row(label, jax.jit(run)(jax.random.key(4), noise)))
        print(".", end="", flush=True)
    print()
    header = [name, "error of the mean", "of the covariance", "sliced Wasserstein"]
    return Table(header, rows, f"{n:,} samples, {steps} steps; – diverged")


def digits_table(workdir: str, images: int) -> Table:
    """Held-out images under every method that can, with the prior of no class."""
    config = command_line.load_config(checkpoint.config_path(workdir))
    run = checkpoint.open_experiment(config, Path(workdir).expanduser(), None)
    x = np.asarray(run.dataset.to_model(run.dataset.test["x"][:images]))
    label = run.dataset.test["label"][:images]
    seen = judge.fit_judge(np.asarray(run.dataset.to_model(run.dataset.train["x"])), run.dataset.train["label"])
    prior = model.denoiser(run.model, run.params, jnp.full(len(x), run.dataset.num_classes))
    options, rows = restoration.Options(), []
    for name in ("inpaint", "super_resolution", "deblur"):
        task = restoration.TASKS[name](run.model.shape)
        y = restoration.observe(jax.random.key(0), task, jnp.asarray(x), options.noise_std)
        for method in (m for m in restoration.METHODS if restoration.fits(task, m)):
            found = restoration.restore(method, jax.random.key(1), prior, run.model.schedule, task, y, x.shape, options)
            image = np.asarray(run.dataset.from_model(jnp.nan_to_num(found.x)))
            numbers = restoration.psnr(image, x), restoration.consistency(task, found.x, y)
            kept = judge.class_accuracy(seen, image, label)
            rows.append([name, method, *numbers, kept, found.evaluations, found.gradients])
    header = ["task", "method", "PSNR (dB)", "RMS of y - A(x)", "class kept", "evaluations", "gradients"]
    return Table(header, rows, f"{len(x)} held-out images of {run.dataset.name}, noise {options.noise_std}")


def tell(table: Table) -> None:
    """Prints a table."""
    print(f"\n{tables_as_text([table])}({table.caption})", flush=True)


def main(_) -> None:
    with jax.enable_x64(True):
        for name, problem in problems().items():
            tell(exact_table(name, problem, _SAMPLES.value, _STEPS.value))
    if _WORKDIR.value:
        tell(digits_table(_WORKDIR.value, _IMAGES.value))


if __name__ == "__main__":
    app.run(main)
