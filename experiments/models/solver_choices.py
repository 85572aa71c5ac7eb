"""The solvers of the library by names in a config: every solver whose arguments are numbers, strings or tuples."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from scorekit import solvers

_SPELLINGS = {"uni_pc": "unipc", "dpmpp_2msde": "dpmpp_2m_sde", "dpmpp_3msde": "dpmpp_3m_sde"}
_SIMPLE = (bool, int, float, str, tuple, type(None))


def config_name(name: str) -> str:
    """The name in a config of a name in :mod:`scorekit.solvers`.

    >>> [config_name(name) for name in ("AdamsBashforth", "DPMSolverPP2M", "SASolver", "ddim")]
    ['adams_bashforth', 'dpmpp_2m', 'sa_solver', 'ddim']
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    words = words.replace("dpm_solver_pp", "dpmpp_")
    return _SPELLINGS.get(words, words)


def _configurable(factory: Callable[..., Any]) -> Callable[..., Any] | None:
    """The factory with its simple arguments alone; None if it cannot be called with these."""
    arguments = []
    for argument in inspect.signature(factory).parameters.values():
        required = argument.default is inspect.Parameter.empty
        number = str(argument.annotation).rpartition(".")[2] in ("int", "float", "Number", "ArrayLike")
        number = number or argument.annotation in (int, float, solvers.base.Number)
        if number if required else isinstance(argument.default, _SIMPLE):
            arguments.append(argument)
        elif required:
            return None
    build = lambda **values: factory(**values)
    build.__signature__ = inspect.Signature([a.replace(kind=a.KEYWORD_ONLY) for a in arguments])  # type: ignore[attr-defined]
    return build


def _all() -> dict[str, Callable[..., Any]]:
    found = {}
    for name in solvers.__all__:
        factory = _configurable(getattr(solvers, name)) if solvers.is_solver(name) else None
        if factory is not None:
            found[config_name(name)] = factory
    return dict(sorted(found.items()))


SOLVERS: Mapping[str, Callable[..., Any]] = _all()
