"""The solvers and the time grids that a config names.

Args:
  t_max: the first time.
  t_min: the last time.
  times: decreasing, one more than there are steps.
"""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp

from experiments.cli.choices import Choice, Choices
from experiments.cli.fields import FRACTION, POSITIVE, Field, Text
from experiments.models.choices import ENDS
from scorekit import samplers, schedules, solvers, tuning
from scorekit.arguments import Between, Each, bounds_of
from scorekit.flow_maps import FlowMapSolver
from scorekit.solvers import LinearSolver, SolverBase
from scorekit.solvers.grids import check_grid
from scorekit.typing import Array, Schedule, Solver


def _start(schedule: Schedule, t_max: float) -> Array:
    """``t_max``, or the time at the most noise of linear VP if that is earlier: there every target gives x0."""
    return jnp.minimum(schedule.time_at(schedules.linear_vp().log_snr(1.0)), t_max)


def _vp_quadratic(schedule: Schedule, n: int, t_max=1.0, t_min=0.0, power=3.0) -> Array:
    return solvers.grids.vp_quadratic(schedule, n, _start(schedule, t_max), t_min, power=power)


def _recommended(schedule: Schedule, n: int, stochastic: bool, t_max=1.0, t_min=0.0) -> Array:
    """The grid of :func:`scorekit.samplers.recommended` for this number of steps and kind of solver."""
    _, ts = samplers.recommended(schedule, n, stochastic=stochastic, t_max=_start(schedule, t_max), t_min=t_min)
    return ts


def _saved_grid(n: int, path: str, t_max=1.0, t_min=0.0, rho=7.0, power=2.0) -> tuning.SavedGrid:
    """The times and coefficients in a file that ``experiments.tune`` wrote for this solver and number of steps.

    Args:
      path: path of the file.
      t_max, t_min, rho, power: fields of the grid that the run had before; not used.
    """
    del t_max, t_min, rho, power  # of the run's own grid: the file has its times
    saved = tuning.load_grid(path)
    if saved.steps != n:
        raise ValueError(f"sampling.steps must be {saved.steps}, as tuned in {path}, got {n}")
    return saved


def _given_times(n: int, times: Annotated[tuple, Each(FRACTION, least=2)]) -> Array:
    """These times."""
    if len(times) != n + 1:
        raise ValueError(f"times must be {n + 1} for sampling.steps = {n}, got {len(times)}")
    ts = jnp.asarray(times, jnp.float32)
    check_grid(ts)
    return ts


GRIDS = Choices(
    {
        "file": Choice(_saved_grid, path=Text("a file of experiments.tune"), rho=POSITIVE, power=POSITIVE),
        "karras": Choice(solvers.grids.karras, drop=("to_zero",)),
        "recommended": _recommended,
        "quadratic": solvers.grids.quadratic,
        "log_snr": Choice(solvers.grids.uniform_log_snr, drop=("to_zero",)),
        "times": _given_times,
        "uniform": solvers.grids.uniform,
        "vp_quadratic": Choice(_vp_quadratic, solvers.grids.vp_quadratic, power=Field(3.0, POSITIVE, "")),
    },
    "recommended",
    """The times of the steps; "recommended" is the grid that belongs to the solver, "file" takes the grid at ``path``,
    which experiments.tune wrote for this solver and number of steps, "times" takes ``times``.""",
    ("schedule", "n", "stochastic"),
    bounds=ENDS,
)


_SPELLINGS = {"uni_pc": "unipc", "dpmpp_2msde": "dpmpp_2m_sde", "dpmpp_3msde": "dpmpp_3m_sde"}


def config_name(name: str) -> str:
    """The name in a config of a name in :mod:`scorekit.solvers`.

    >>> [config_name(name) for name in ("AdamsBashforth", "DPMSolverPP2M", "SASolver", "ddim")]
    ['adams_bashforth', 'dpmpp_2m', 'sa_solver', 'ddim']
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    words = words.replace("dpm_solver_pp", "dpmpp_")
    return _SPELLINGS.get(words, words)


def _is_solver(thing: Any) -> bool:
    """Whether a public name is a class of solvers, or a function that returns a solver."""
    kinds = [thing]
    if inspect.isfunction(thing):
        hint = typing.get_type_hints(thing).get("return")
        kinds = list(typing.get_args(hint) or [hint])
    return all(isinstance(kind, type) and issubclass(kind, SolverBase) for kind in kinds)


def _configurable(factory: Callable[..., Any], **defaults: Any) -> Choice | None:
    """The factory with its simple arguments alone and these defaults; None if it cannot be called with them."""
    left_out = []
    for name, argument in inspect.signature(factory).parameters.items():
        if argument.default is inspect.Parameter.empty:
            if name not in bounds_of(factory):
                return None
        elif not isinstance(argument.default, (bool, int, float, str, tuple)):
            left_out.append(name)
    return Choice(factory, drop=tuple(left_out), **defaults)


def _recommended_solver(schedule: Schedule, n: int, stochastic: bool = False) -> Solver:
    """The solver of :func:`scorekit.samplers.recommended` for this number of steps.

    Args:
      stochastic: one that adds noise.
    """
    return samplers.recommended(schedule, n, stochastic=stochastic)[0]


_FLOW_MAP = Choice(
    lambda gamma=0.0, t_min=0.0: FlowMapSolver(gamma=gamma or None, t_min=t_min),
    "Jumps of a flow map.",
    gamma=Field(0.0, FRACTION, "the part of the noise that is fresh after a jump."),
    t_min=Field(0.0, Between(0, 1, "high"), "the end of the paths that the map was trained for."),
)


def _all() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {"recommended": _recommended_solver, "flow_map": _FLOW_MAP}
    for name in solvers.__all__:
        thing, ours = getattr(solvers, name), config_name(name)
        if thing not in (SolverBase, LinearSolver) and _is_solver(thing):
            defaults = {"coordinate": "flow"} if ours == "unipc" else {}  # not those of the library
            if factory := _configurable(thing, **defaults):
                found[ours] = factory
    return dict(sorted(found.items()))


SOLVERS = Choices(
    _all(),
    "recommended",
    """What takes a step; "recommended" is the solver of :func:`scorekit.samplers.recommended` for ``steps``.""",
    ("schedule", "n"),
)
