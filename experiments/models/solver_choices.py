"""The solvers of the library by names in a config: every solver whose arguments are numbers, strings or tuples."""

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from experiments.cli.fields import FRACTION, Choice, Field
from scorekit import samplers, solvers
from scorekit.arguments import Between, bounds_of
from scorekit.flow_maps import FlowMapSolver
from scorekit.solvers import LinearSolver, SolverBase
from scorekit.typing import Schedule, Solver

_SPELLINGS = {"uni_pc": "unipc", "dpmpp_2msde": "dpmpp_2m_sde", "dpmpp_3msde": "dpmpp_3m_sde"}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"unipc": {"coordinate": "flow"}}
"""Arguments whose default in a config is not that of the library."""
_SIMPLE = (bool, int, float, str, tuple)


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


def _configurable(factory: Callable[..., Any], defaults: Mapping[str, Any]) -> Choice | None:
    """The factory with its simple arguments alone and these defaults; None if it cannot be called with them."""
    left_out = []
    for name, argument in inspect.signature(factory).parameters.items():
        required = argument.default is inspect.Parameter.empty
        if name not in bounds_of(factory) if required else not isinstance(argument.default, _SIMPLE):
            if required:
                return None
            left_out.append(name)
    return Choice(factory, drop=tuple(left_out), **defaults)


def _recommended(schedule: Schedule, n: int, stochastic: bool = False) -> Solver:
    """The solver of :func:`scorekit.samplers.recommended` for this number of steps.

    Args:
      stochastic: one that adds noise.
    """
    return samplers.recommended(schedule, n, stochastic=stochastic)[0]


def _all() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {"recommended": _recommended}
    for name in solvers.__all__:
        thing = getattr(solvers, name)
        if thing in (SolverBase, LinearSolver) or not _is_solver(thing):
            continue
        factory = _configurable(thing, _DEFAULTS.get(config_name(name), {}))
        if factory is not None:
            found[config_name(name)] = factory
    found["flow_map"] = Choice(
        lambda gamma=0.0, t_min=0.0: FlowMapSolver(gamma=gamma or None, t_min=t_min),
        "Jumps of a flow map.",
        gamma=Field(0.0, FRACTION, "the part of the noise that is fresh after a jump."),
        t_min=Field(0.0, Between(0, 1, "high"), "the end of the paths that the map was trained for."),
    )
    return dict(sorted(found.items()))


SOLVERS: Mapping[str, Callable[..., Any]] = _all()
