"""Objects of a kind: noise schedules, solvers, keys and functions; not a name, a class or a seed in their place."""

import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.typing import Key, Schedule, Solver


def _is_key(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is not None and (jnp.issubdtype(dtype, jax.dtypes.prng_key) or (dtype == np.uint32 and value.ndim > 0))


KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    Schedule: ("a noise schedule, such as scorekit.schedules.Cosine()", lambda x: hasattr(x, "alpha")),
    Solver: ("a solver, such as scorekit.solvers.Heun()", lambda x: hasattr(x, "step")),
    Key: ("a PRNG key, jax.random.key(seed)", _is_key),
}
"""By annotation: the words of the error, and whether an object is of the kind; a class never is."""


def check_kind(kind: Any, name: str, value: Any, optional: bool = False) -> None:
    """Raises a ``ValueError`` unless ``value`` is an object of this kind.

    Args:
      kind: :class:`~scorekit.typing.Schedule`, :class:`~scorekit.typing.Solver` or :data:`~scorekit.typing.Key`.
      name: the name of the argument.
      value: the value to check.
      optional: whether None passes.

    >>> check_kind(Key, "key", 0)
    Traceback (most recent call last):
    ValueError: key must be a PRNG key, jax.random.key(seed), got 0
    """
    if optional and value is None:
        return
    words, holds = KINDS[kind]
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        is_class = isinstance(value, type)
        kind_of = "class" if is_class else "function"
        raise ValueError(f"{name} must be {words}, got the {kind_of} {value.__name__}: call it, {value.__name__}(...)")
    if not holds(value):
        got = repr(value) if value is None or isinstance(value, str | int) else f"a {type(value).__name__}"
        held = ", which holds one: its .schedule" if kind is Schedule and hasattr(value, "schedule") else ""
        raise ValueError(f"{name} must be {words}, got {got}{held}")


def check_function(name: str, value: Any, optional: bool = False) -> None:
    """Raises a ``ValueError`` unless ``value`` can be called; with ``optional``, None passes.

    >>> check_function("denoiser", 3.0)
    Traceback (most recent call last):
    ValueError: denoiser must be a function, got 3.0
    """
    if not callable(value) and not (optional and value is None):
        raise ValueError(f"{name} must be a function, got {value!r:.60}")
