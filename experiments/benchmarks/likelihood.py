"""Exact log-likelihood: error in nats and seconds per 1000 points, compared with diffrax.

    python -m experiments.benchmarks.likelihood --out=/tmp/likelihood.png

The data are mixtures of known density, the network predicts their exact eps, the schedule is linear VP. The error is
against the density of the model, whose prior differs slightly from the noisy data: ``log p_0(x) + log N(x_1) - log
p_1(x_1)``. All solvers use the Dormand-Prince pair at the same tolerances. The library chooses its blocks of points
itself, or is given all together. diffrax integrates the drift in t, as is usual, with all directions of the divergence
at once, for all points together and in blocks. Each figure is a median over repetitions that alternate between the
solvers.
"""

import functools
import math
import statistics
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax.scipy.stats import norm
from matplotlib.figure import Figure

from experiments.benchmarks.measuring import rounds
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.reporting import plots
from experiments.reporting.report import show
from scorekit import denoisers, densities, process, schedules
from scorekit.likelihood import log_likelihood
from scorekit.typing import Array, Denoiser

_POINTS = flags.DEFINE_integer("points", 400, "points of the ring; half as many in 64 dimensions")
_BLOCK = flags.DEFINE_integer("block", 100, "points in one block of diffrax")
_TURNS = flags.DEFINE_integer("turns", 3, "repetitions of each measurement")
_TOLERANCES = flags.DEFINE_list("tolerances", ["1e-3", "1e-4", "1e-5", "1e-6"], "rtol = atol of all solvers")
_OUT = shared.out("where to save the plot of error against time", "likelihood.png")

SCHEDULE = schedules.linear_vp()
Solve = Callable[[Array, Array], tuple[Array, Array, Array]]
"""``(x, tolerance) -> (log_p, x_1, nfe)``."""


class Row(NamedTuple):
    """One solver at one tolerance."""

    solver: str
    tolerance: float
    nfe: float
    error: float
    bias: float
    seconds: float


def low_rank_mixture(dim: int = 64, rank: int = 4, modes: int = 5) -> densities.Mixture:
    """Five modes, each wide along four directions and narrow along the others."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(modes, dim, rank)) / math.sqrt(rank)
    means = rng.normal(size=(modes, dim))
    parts = [densities.gaussian(jnp.asarray(m), std=0.3, factor=f) for m, f in zip(means, factors, strict=True)]
    return densities.mixture(np.ones(modes), parts)


def exact_denoiser(data: densities.Mixture) -> Denoiser:
    """Through eps alone, as from a network: computing the exact x0 and eps separately would take twice the time."""
    network = lambda x, t: data.predict(x, SCHEDULE.alpha(t), SCHEDULE.sigma(t)).eps
    return denoisers.denoiser_from_network(network, SCHEDULE, "eps")


def ours(data: densities.Mixture, block_size: int | None = None) -> Solve:
    """:func:`scorekit.likelihood.log_likelihood`, by default in the blocks that it chooses."""
    denoiser = exact_denoiser(data)

    def solve(x, tolerance):
        found = log_likelihood(None, denoiser, SCHEDULE, x, rtol=tolerance, atol=tolerance, block_size=block_size)
        return found.log_p, found.x_1, found.nfe

    return solve


def with_diffrax(data: densities.Mixture) -> Solve:
    """The same with diffrax."""
    import diffrax

    denoiser = exact_denoiser(data)
    directions = jnp.eye(data.dim)

    def field(t, state, args):
        del args
        f, half = process.drift(SCHEDULE, t), 0.5 * process.diffusion_squared(SCHEDULE, t)
        drift = lambda x: f * x + half / SCHEDULE.sigma(t) * denoiser(x, t).eps

        def one(direction):
            along = jnp.broadcast_to(direction, state[0].shape)
            return jnp.sum(jax.jvp(drift, (state[0],), (along,))[1] * along, axis=-1)

        return drift(state[0]), jnp.sum(jax.vmap(one)(directions), axis=0)

    def solve(x, tolerance):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Dopri5(),
            t0=1e-5,
            t1=1.0,
            dt0=None,
            y0=(x, jnp.zeros(len(x))),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=2000,
        )
        assert solution.ys is not None
        x_1, change = (leaf[0] for leaf in solution.ys)
        return norm.logpdf(x_1, scale=SCHEDULE.sigma(1.0)).sum(-1) + change, x_1, 6 * solution.stats["num_steps"] + 2

    return solve


def in_blocks(solve: Solve, size: int) -> Solve:
    """The same in blocks of ``size`` points."""

    def blocks(x, tolerance):
        log_p, x_1, nfe = jax.lax.map(lambda block: solve(block, tolerance), x.reshape(-1, size, x.shape[-1]))
        return log_p.reshape(-1), x_1.reshape(x.shape), jnp.mean(nfe)

    return blocks


@jax.jit
def exact(data: densities.Mixture, x: Array, x_1: Array) -> Array:
    """The density of the model at ``x``, given its latent."""
    last = data.marginal(SCHEDULE.alpha(1.0), SCHEDULE.sigma(1.0))
    return data.log_density(x) + norm.logpdf(x_1, scale=SCHEDULE.sigma(1.0)).sum(-1) - last.log_density(x_1)


def measure(data: densities.Mixture, points: int, solvers: dict[str, Callable[..., Solve]]) -> list[Row]:
    """Every solver at every tolerance, in alternation."""
    x = jax.jit(data.sample, static_argnums=1)(jax.random.key(0), (points,))
    compiled = {name: jax.jit(make(data)) for name, make in solvers.items()}
    cells = {(name, float(tol)): run for name, run in compiled.items() for tol in _TOLERANCES.value}
    found = {cell: jax.block_until_ready(run(x, cell[1])) for cell, run in cells.items()}
    seconds = rounds({cell: functools.partial(run, x, cell[1]) for cell, run in cells.items()}, _TURNS.value)
    rows = []
    for (name, tolerance), (log_p, x_1, nfe) in found.items():
        error = np.asarray(log_p - exact(data, x, x_1), float)
        cost = statistics.median(seconds[name, tolerance]) * 1000 / points
        rows.append(Row(name, tolerance, float(nfe), float(np.abs(error).mean()), float(error.mean()), cost))
    return rows


def at_equal_error(rows: list[Row], solver: str, baseline: str) -> float:
    """Time of the baseline over time of the solver at the smallest error of the baseline that both reach."""
    of = lambda name: sorted((r.error, r.seconds) for r in rows if r.solver == name)
    mine, other = of(solver), of(baseline)
    errors, times = (np.log([pair[i] for pair in mine]) for i in (0, 1))
    reached = [(error, seconds) for error, seconds in other if error >= mine[0][0]] or other[-1:]
    return reached[0][1] / math.exp(np.interp(math.log(reached[0][0]), errors, times))


def main(_) -> None:
    out = shared.results(_OUT, None, "")
    solvers: dict[str, Callable[..., Solve]] = {
        "scorekit": ours,
        "scorekit, whole": lambda data: ours(data, _POINTS.value),
    }
    try:
        import diffrax  # noqa: F401
    except ImportError:
        print("diffrax is not installed (pip install diffrax): its rows are skipped")
    else:
        solvers["diffrax"] = with_diffrax
        solvers["diffrax, blocks"] = lambda data: in_blocks(with_diffrax(data), _BLOCK.value)
    figure = Figure(figsize=(9, 4), layout="constrained")
    cases = {
        "ring of 8 modes, 2-d": (densities.ring(), _POINTS.value),
        "low-rank mixture, 64-d": (low_rank_mixture(), _POINTS.value // 2),
    }
    for axes, (title, (data, points)) in zip(figure.subplots(1, 2), cases.items(), strict=True):
        rows = measure(data, points, solvers)
        print(f"\n{title}, {points} points")
        print(f"{'':18}{'rtol':>8}{'nfe':>7}{'mean |error|':>14}{'bias':>11}{'s per 1000':>12}")
        for row in rows:
            print(
                f"{row.solver:18}{row.tolerance:8.0e}{row.nfe:7.0f}{row.error:14.1e}{row.bias:11.1e}"
                f"{show(row.seconds):>12}"
            )
        for name in solvers:
            axes.loglog(
                [r.seconds for r in rows if r.solver == name],
                [r.error for r in rows if r.solver == name],
                "o-",
                label=name,
            )
        for name in (n for n in solvers if n.startswith("scorekit") and "diffrax" in solvers):
            times = {other: at_equal_error(rows, name, other) for other in solvers if other.startswith("diffrax")}
            print(f"{name} at equal error: " + ", ".join(f"{ratio:.2f} x as fast as {o}" for o, ratio in times.items()))
        axes.set(title=title, xlabel="seconds per 1000 points", ylabel="mean |error|, nats")
        axes.legend()
    print(f"\nsaved {plots.save(figure, out)}")


if __name__ == "__main__":
    with one_line():
        app.run(main)
