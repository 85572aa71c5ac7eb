"""Problems of all tables: exact denoisers and a trained model, their references, time grids, and errors.

Every run starts at ``sigma / alpha = 80``, from the same state for every grid, and ends at clean data. With exact
denoisers all arithmetic is float64.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.configs import base
from experiments.models.guidance import make_guided
from experiments.models.model import denoiser
from experiments.models.runs import open_run
from scorekit import denoisers, densities, process, samplers, schedules, solvers
from scorekit.solvers import grids
from scorekit.typing import Array, Denoiser, Key, Schedule, Solver

EDM = schedules.edm(0.0, 80.0)  # its t = 0 is clean data
MAX_STEPS = 300
"""Most steps of a grid; the reference solution has as many."""
VP, COSINE, FLOW = schedules.linear_vp(), schedules.cosine(), schedules.rectified_flow()
SCHEDULES = {"edm": EDM, "linear_vp": VP, "cosine": COSINE, "rectified_flow": FLOW}


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A denoiser, the initial state of its runs, and (unless it is a trained network) the distribution of its data."""

    name: str
    schedule: Schedule
    denoiser: Denoiser
    x_init: Array
    data: densities.Mixture | None = None

    def times(self, grid: str, n: int) -> Array:
        """The grid on the schedule of the problem."""
        return grids.matching(self.schedule, EDM, GRIDS[grid](n))

    @property
    def top(self) -> Array:
        """The time of the initial state."""
        return self.schedule.time_at(EDM.log_snr(1.0))

    def recommended(self, n: int) -> tuple[Solver, Array]:
        """The recommended pair of solver and grid for n evaluations."""
        return samplers.recommended(self.schedule, n, t_max=self.top)

    def run(self, solver: Solver, ts: Array, key: Key | None = None, x: Array | None = None) -> Array:
        """:func:`scorekit.samplers.sample` from ``x_init`` or x, compiled once for grids of all lengths."""
        x, n = self.x_init if x is None else x, len(ts) - 1
        return _run(key, self.denoiser, self.schedule, solver, x, jnp.pad(ts, (0, MAX_STEPS - n)), n)

    def error(self, solver: Solver, ts: Array) -> "Errors":
        """The errors of a run from ``x_init``."""
        return errors(self.run(solver, ts), self.reference)

    def predict(self, x: Array, ratio: Array) -> Array:
        """x0 from ``x = x0 + ratio eps`` at ``sigma / alpha = ratio``: the denoiser that other packages call."""
        t = self.schedule.time_at(-2.0 * jnp.log(ratio))
        return self.denoiser(self.schedule.alpha(t) * x, t).x0

    @functools.cached_property
    def reference(self) -> np.ndarray:
        """The probability-flow map of ``x_init``, on a fine grid."""
        return np.asarray(self.run(solvers.RK4(), self.times("VP t^3", MAX_STEPS)))


@jax.jit
def _run(key, denoiser, schedule, solver, x, ts, n):
    once = jax.jit(lambda x, t: denoiser(x, t))
    rows = solver.plan(schedule, ts)  # those beyond n are not used

    def body(k, carry):
        x, state = carry
        for_step = None if key is None else jax.random.fold_in(key, k)
        return solver.step(for_step, state, x, jax.tree.map(lambda leaf: leaf[k], rows), once)

    return jax.lax.fori_loop(0, n, body, (x, solver.init(x)))[0]


class Errors(NamedTuple):
    """Distances to a reference: RMSE over all samples, and median and 90th percentile of the RMSE of a sample."""

    rmse: float
    median: float
    p90: float = math.nan


def errors(x: Array, reference: np.ndarray) -> Errors:
    """The errors of samples; inf where they are not finite."""
    with np.errstate(all="ignore"):
        each = np.mean(np.square(np.asarray(x, float) - reference).reshape(len(reference), -1), axis=1)
    each = np.where(np.isfinite(each), each, np.inf)
    p90 = np.percentile(each, 90, method="higher")
    return Errors(math.sqrt(each.mean()), math.sqrt(np.median(each)), math.sqrt(p90))


# ---- grids: times of EDM, by the number of steps ------------------------------------------------------------------


def _at(ratio: float) -> Array:
    return EDM.time_at(jnp.asarray(-2.0 * math.log(ratio)))


def _converted(schedule: Schedule, make, n: int, **kwargs) -> Array:
    """A grid of another schedule from its time at ``sigma / alpha = 80`` to its t = 0, at the same noise levels."""
    top = schedule.time_at(jnp.asarray(-2.0 * math.log(80.0)))
    return grids.matching(EDM, schedule, make(n, top, **kwargs)).at[0].set(1.0).at[-1].set(0.0)


GRIDS = {
    "karras7 .002": lambda n: grids.karras(EDM, n, 1.0, _at(0.002)),
    "logsnr .002": lambda n: grids.uniform_log_snr(EDM, n, 1.0, _at(0.002)),
    "logsnr .01": lambda n: grids.uniform_log_snr(EDM, n, 1.0, _at(0.01)),
    "logsnr .03": lambda n: grids.uniform_log_snr(EDM, n, 1.0, _at(0.03)),
    "VP t": lambda n: _converted(VP, grids.uniform, n),
    "VP t^1.5": lambda n: _converted(VP, grids.quadratic, n, power=1.5),
    "VP t^2": lambda n: _converted(VP, grids.quadratic, n),
    "VP t^2.5": lambda n: _converted(VP, grids.quadratic, n, power=2.5),
    "VP t^3": lambda n: _converted(VP, grids.quadratic, n, power=3.0),
    "flow t": lambda n: _converted(FLOW, grids.uniform, n),
    "cosine t": lambda n: _converted(COSINE, grids.uniform, n),
}


# ---- problems -----------------------------------------------------------------------------------------------------


def low_rank_mixture(dim: int = 64, modes: int = 10, rank: int = 8, std: float = 0.059) -> densities.Mixture:
    """Ten modes of unequal weight; standard deviations .36 to 3.5 along eight directions, .059 along the others."""
    rng = np.random.default_rng(0)
    weights = np.linspace(1.0, 3.0, modes) / np.linspace(1.0, 3.0, modes).sum()
    bases = [np.linalg.qr(rng.normal(size=(dim, rank)))[0] for _ in range(modes)]
    factors = [basis * np.exp(rng.uniform(np.log(0.36), np.log(3.5), rank)) for basis in bases]
    within = std**2 + sum(w * np.sum(f**2) for w, f in zip(weights, factors, strict=True)) / dim
    means = rng.normal(size=(modes, dim))
    means -= weights @ means
    means *= math.sqrt((1.0 - within) / (weights @ np.square(means).mean(1)))  # so that a coordinate's variance is 1
    parts = [densities.gaussian(jnp.asarray(m), std=std, factor=f) for m, f in zip(means, factors, strict=True)]
    return densities.mixture(weights, parts)


def ring() -> densities.Mixture:
    """Eight modes of standard deviation .1 on a circle; each coordinate has variance 1."""
    return densities.ring(8, math.sqrt(2.0 * (1.0 - 0.1**2)), 0.1)


def small_mixture(dim: int, modes: int, seed: int, std: float) -> densities.Mixture:
    """Modes of one width at random places; the variance of a coordinate, averaged over them, is about 1."""
    rng = np.random.default_rng(seed)
    weights, means = rng.dirichlet(np.full(modes, 3.0)), rng.normal(size=(modes, dim))
    means -= weights @ means
    scale = 1.0 / math.sqrt(np.mean(weights @ means**2) + std**2)
    return densities.mixture(weights, [densities.gaussian(jnp.asarray(scale * m), std=scale * std) for m in means])


def annulus(modes: int = 64, std: float = 0.03) -> densities.Mixture:
    """A thin ring: its curve is as good as continuous at the width of the modes."""
    return densities.ring(modes, math.sqrt(2.0 * (1.0 - std**2)), std)


def heavy_tails(dim: int = 16, scales: int = 8) -> densities.Mixture:
    """One centre and many widths, as a Student distribution; the variance of a coordinate is 1."""
    stds, weights = np.geomspace(0.15, 5.0, scales), np.geomspace(1.0, 0.01, scales)
    stds = stds / math.sqrt(weights @ stds**2 / weights.sum())
    return densities.mixture(weights, [densities.gaussian(jnp.zeros(dim), std=float(s)) for s in stds])


def power_law(dim: int = 64, exponent: float = 2.0) -> densities.Mixture:
    """One Gaussian with the spectrum of images, ``k^-exponent``, around a mean; the variance of a coordinate is 1."""
    rank = dim - 1
    variances = np.arange(1.0, dim + 1.0) ** -exponent
    variances *= dim / variances.sum()
    factor = np.eye(dim)[:, :rank] * np.sqrt(variances[:rank] - variances[rank])
    return densities.mixture(
        np.ones(1), [densities.gaussian(jnp.full(dim, 0.2), std=float(np.sqrt(variances[rank])), factor=factor)]
    )


def checkerboard(side: int = 4, std: float = 0.12) -> densities.Mixture:
    """Modes on every other square of a board."""
    places = np.array([(i, j) for i in range(side) for j in range(side) if (i + j) % 2], float)
    places -= places.mean(0)
    places *= math.sqrt((1.0 - std**2) / np.mean(places**2))
    return densities.mixture(np.ones(len(places)), [densities.gaussian(jnp.asarray(p), std=std) for p in places])


DATA = {
    "ring": ring,
    "low_rank": low_rank_mixture,
    "four_modes_1d": functools.partial(small_mixture, 1, 4, 1, 0.1),
    "eight_modes_8d": functools.partial(small_mixture, 8, 8, 3, 0.15),
    "low_rank_16d": functools.partial(low_rank_mixture, 16, 6, 2, 0.08),
    "annulus": annulus,
    "heavy_tails_16d": heavy_tails,
    "power_law_64d": power_law,
    "checkerboard": checkerboard,
}


def exact_problem(name: str, schedule: str, samples: int, scale: float = 1.0) -> Problem:
    """One of ``DATA``, with a scale other than 1 guided to a third of its modes; use it with float64 enabled."""
    data, chosen = DATA[name](), SCHEDULES[schedule]
    parts = [(1.0, data)]
    if scale != 1.0:
        parts = [(1.0 - scale, data), (scale, jax.tree.map(lambda leaf: leaf[::3], data))]
    # Through x0 alone, as from a network: computing the exact x0 and eps separately would take twice the time.
    network = jax.tree_util.Partial(_exact_x0, parts, chosen)
    exact = denoisers.denoiser_from_network(network, chosen, "x0")
    x = chosen.sigma(chosen.time_at(EDM.log_snr(1.0))) * jax.random.normal(jax.random.key(0), (samples, data.dim))
    return Problem(name, chosen, exact, x, data)


def _exact_x0(parts, schedule, x, t):
    return sum(weight * data.predict(x, schedule.alpha(t), schedule.sigma(t)).x0 for weight, data in parts)


def trained_problem(workdir: str, samples: int, scale: float = 1.0) -> Problem:
    """The network of a finished run, by default without guidance; the labels run through the classes in turn."""
    config = base.saved(workdir)
    opened = open_run(config, Path(workdir).expanduser(), scales=(scale,))
    labels = jnp.arange(samples) % opened.dataset.num_classes
    schedule = opened.model.schedule
    like = jax.ShapeDtypeStruct((samples, *opened.model.shape), jnp.float32)
    x = process.sample_prior(jax.random.key(0), schedule, like, schedule.time_at(EDM.log_snr(1.0)))
    if scale == 1.0:
        return Problem("digits", schedule, denoiser(opened.model, opened.params, labels), x)
    guided = make_guided(config, opened.model)(opened.params, labels, scale, opened.extras)
    return Problem("digits", schedule, guided, x)
