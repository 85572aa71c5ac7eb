"""The solvers of ``scorekit.solvers.__all__``, found there, and how to take a single step with one."""

import functools
import inspect

import jax
import jax.numpy as jnp

from scorekit import schedules, solvers
from scorekit.solvers import SolverBase
from scorekit.typing import Prediction

NOT_SOLVERS = {
    "LinearSolver": "a base class",
    "SolverBase": "a base class",
    "WrappedSolver": "a base class",
    "NoiseLevels": "schedule values that rows are made of",
    "Row": "the row of a LinearSolver",
    "noise_levels": "schedule values that rows are made of",
    "grids": "the module of time grids",
    "steps": "the module of the loop over steps",
}
TIMES = jnp.array([0.97, 0.7, 0.4, 0.0])
"""A grid of three steps; the table of the precomputed solvers belongs to it."""


@functools.cache
def _tuned_rows():
    return jax.jit(lambda: solvers.UniPC().plan(schedules.Cosine(), TIMES))()


# Constructor arguments of the solvers that need some.
ARGUMENTS = {
    "AnnealedLangevin": lambda: {"steps": 2},  # quicker to compile than 5
    "StochasticHeun": lambda: {"gamma": 0.2},
    "edm_stochastic": lambda: {"num_steps": 3},
    "DPS": lambda: {"operator": lambda x: x[..., :1], "observation": jnp.ones(1), "base": solvers.Ancestral()},
    "PrecomputedSolver": lambda: {"rows": _tuned_rows(), "base": solvers.UniPC()},
    "precomputed": lambda: {"solver": solvers.Euler(), "schedule": schedules.Cosine(), "ts": TIMES},
}
WHOLE_GRID = ("PrecomputedSolver", "precomputed")  # have no single rows, and belong to the cosine schedule


def build(name: str, **arguments):
    """A solver of the table with its defaults, but for these arguments."""
    made = getattr(solvers, name)(**{**ARGUMENTS.get(name, dict)(), **arguments})
    assert isinstance(made, SolverBase), f"{name} makes no solver: give the reason in NOT_SOLVERS"
    return made


NAMES = [name for name in solvers.__all__ if name not in NOT_SOLVERS]


def has_parameter(name: str, parameter: str) -> bool:
    """Whether a class or factory of the table takes this argument."""
    return parameter in inspect.signature(getattr(solvers, name)).parameters


def step_once(solver, key, x, t, s, denoiser, schedule):
    """One step without a history, at scalar or ``(B,)`` times."""
    row = solver.row(schedule, jnp.stack([jnp.asarray(s, float), jnp.asarray(t, float)], axis=-1), 0)
    return solver.step(solver.init(x), x, row, denoiser, key=key)[0]


def x0_denoiser(network, schedule):
    """A denoiser from a function ``(x, t) -> x0``."""

    def denoiser(x, t):
        x0 = network(x, t)
        t = t[..., None] if jnp.ndim(t) else t
        return Prediction(x0, (x - schedule.alpha(t) * x0) / schedule.sigma(t))

    return denoiser
