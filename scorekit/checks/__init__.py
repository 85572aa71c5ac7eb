"""Checks of arguments: one vocabulary of errors that name the argument, its value and what is allowed.

Each check raises a ``ValueError`` for the first argument that fails it; a bound that does not depend on other arguments
is an annotation instead (:mod:`scorekit.arguments`). Concrete values are checked, with numpy, so that every function
may be called inside ``jit``; of tracers only shapes and dtypes are checked. Where a traced value can be wrong and the
answer would look right, :func:`nan_unless` makes it NaN.
"""

import operator
import sys
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from scorekit.checks._shapes import (
    check_axes,
    check_broadcasts,
    check_levels,
    check_like,
    check_per_example,
    check_real,
    is_real,
)
from scorekit.typing import ArrayLike, PyTree

__all__ = [
    "check",
    "check_at_least",
    "check_axes",
    "check_between",
    "check_broadcasts",
    "check_classes",
    "check_count",
    "check_finite",
    "check_floating",
    "check_levels",
    "check_like",
    "check_not_nan",
    "check_per_example",
    "check_positive",
    "check_prediction",
    "check_real",
    "check_scalar",
    "check_shape",
    "check_state",
    "check_time",
    "nan_unless",
    "nan_unless_finite",
    "warn_caller",
]


def check(condition: Callable[[Any], Any], allowed: str, **named: ArrayLike) -> None:
    """Values for which ``condition`` holds.

    The condition must be False of NaN (a comparison is). An empty array holds nothing that could break it; a value that
    is not a real number breaks it, traced or not.

    Args:
      condition: a function of a NumPy array, True where it is allowed.
      allowed: the allowed values in words, for the message.
      named: numbers or arrays by the names that errors give them, ``decay=decay``.

    >>> check(lambda x: x < 1, "< 1", decay=2.0)
    Traceback (most recent call last):
    ValueError: decay must be < 1, got 2.0
    """
    for name, value in named.items():
        real = is_real(value)
        if real and isinstance(value, Tracer):
            continue
        holds = condition(np.asarray(value)) if real else False
        if not isinstance(holds, Tracer) and not np.all(holds):
            raise ValueError(f"{name} must be {allowed}, got {value if real else repr(value)}")


def check_positive(**named: ArrayLike) -> None:
    """Finite values > 0.

    Args:
      named: numbers or arrays by the names that errors give them.

    >>> check_positive(std=-1.0)
    Traceback (most recent call last):
    ValueError: std must be finite and > 0, got -1.0
    """
    check(lambda x: np.isfinite(x) & (x > 0), "finite and > 0", **named)


def check_at_least(least: float, **named: ArrayLike) -> None:
    """Finite values of at least ``least``.

    Args:
      least: the smallest allowed value.
      named: numbers or arrays by the names that errors give them.

    >>> check_at_least(0, eta=-1.0)
    Traceback (most recent call last):
    ValueError: eta must be finite and >= 0, got -1.0
    """
    check(lambda x: np.isfinite(x) & (x >= least), f"finite and >= {least:g}", **named)


def check_between(low: float, high: float, **named: ArrayLike) -> None:
    """Values in ``[low, high]``.

    Args:
      low, high: the smallest and the largest allowed value, both included.
      named: numbers or arrays by the names that errors give them.

    >>> check_between(0, 1, t_min=2.0)
    Traceback (most recent call last):
    ValueError: t_min must be in [0, 1], got 2.0
    """
    check(lambda x: (x >= low) & (x <= high), f"in [{low:g}, {high:g}]", **named)


def check_count(least: int = 1, **named: int) -> None:
    """Integers of at least ``least``: a count decides shapes, so that it is neither traced nor a float nor a boolean.

    Args:
      least: the smallest allowed integer.
      named: integers by the names that errors give them.

    >>> check_count(steps=2.5)
    Traceback (most recent call last):
    ValueError: steps must be an integer >= 1, got 2.5
    """
    for name, value in named.items():
        try:
            number = operator.index(value)
        except TypeError:
            number = least - 1
        if isinstance(value, bool | np.bool_) or number < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")


def check_classes(num_classes: int, **named: ArrayLike) -> None:
    """Integers in ``[0, num_classes)``.

    Args:
      num_classes: the number of classes.
      named: numbers or arrays by the names that errors give them.

    >>> check_classes(9, label=np.array([0, 9]))
    Traceback (most recent call last):
    ValueError: label must hold classes from 0 to 8, got [0 9]
    """
    for name, value in named.items():
        if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
            raise ValueError(f"{name} must hold integers, got dtype {jnp.result_type(value)}")
        if not isinstance(value, Tracer) and not np.all((np.asarray(value) >= 0) & (np.asarray(value) < num_classes)):
            raise ValueError(f"{name} must hold classes from 0 to {num_classes - 1}, got {value}")


def check_floating(**named: PyTree) -> None:
    """Trees of floating arrays, none of them empty.

    Args:
      named: trees of arrays by the names that errors give them; of tracers the dtypes are checked.

    >>> check_floating(x=jnp.arange(2))
    Traceback (most recent call last):
    ValueError: x must hold floating arrays, got dtype int32
    """
    for name, tree in named.items():
        leaves = jax.tree.leaves(tree)
        for leaf in leaves:
            dtype = getattr(leaf, "dtype", None) or np.asarray(leaf).dtype
            if not jnp.issubdtype(dtype, jnp.floating):
                raise ValueError(f"{name} must hold floating arrays, got dtype {dtype}")
        if not leaves or any(np.size(leaf) == 0 for leaf in leaves):
            raise ValueError(f"{name} must hold values, got shapes {[jnp.shape(leaf) for leaf in leaves]}")


def check_finite(**named: PyTree) -> None:
    """Trees of real and finite values; the message counts the others.

    Args:
      named: trees of numbers by the names that errors give them; tracers pass.

    >>> check_finite(scores=np.array([0.0, np.nan]))
    Traceback (most recent call last):
    ValueError: scores must be finite, but 1 of 2 values are not
    """
    check_real(**named)
    for name, tree in named.items():
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree) if not isinstance(leaf, Tracer)]
        broken = sum(int(np.sum(~np.isfinite(leaf))) for leaf in leaves)
        if broken:
            raise ValueError(f"{name} must be finite, but {broken} of {sum(x.size for x in leaves)} values are not")


def check_not_nan(**named: ArrayLike) -> None:
    """Real numbers without NaN; infinity is allowed.

    Args:
      named: numbers or arrays by the names that errors give them.

    >>> check_not_nan(scores=np.array([np.inf, np.nan]))
    Traceback (most recent call last):
    ValueError: scores must not be NaN, but 1 of 2 values are
    """
    for name, value in named.items():
        check(lambda x: True, "a real number", **{name: value})
        if not isinstance(value, Tracer):
            broken = int(np.sum(np.isnan(np.asarray(value))))
            if broken:
                raise ValueError(f"{name} must not be NaN, but {broken} of {np.size(value)} values are")


def check_scalar(**named: ArrayLike) -> None:
    """Single real numbers, concrete or traced.

    Args:
      named: numbers or arrays by the names that errors give them.

    >>> check_scalar(sigma=np.ones(3))
    Traceback (most recent call last):
    ValueError: sigma must be a scalar, got shape (3,)
    """
    for name, value in named.items():
        shape, dtype = np.shape(value), getattr(value, "dtype", None) or np.asarray(value).dtype
        if shape != ():
            raise ValueError(f"{name} must be a scalar, got shape {shape}")
        if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
            raise ValueError(f"{name} must be a real number, got {value!r}")


def check_prediction(result: Any, name: str = "denoiser") -> Any:
    """The result of a denoiser, which must be a prediction: a network returns an array.

    Args:
      result: the result of the denoiser.
      name: the name of the argument that is the denoiser.

    Returns:
      The prediction itself.

    >>> check_prediction(jnp.zeros((4, 2)))
    Traceback (most recent call last):
    ValueError: denoiser must return a Prediction(x0, eps), got shape (4, 2); wrap a network in denoiser_from_network
    """
    if not hasattr(result, "x0"):
        shapes = f"shape {jax.tree.map(jnp.shape, result)}; wrap a network in denoiser_from_network"
        raise ValueError(f"{name} must return a Prediction(x0, eps), got {shapes}")
    return result


def check_shape(**named: tuple[int, ...]) -> None:
    """Tuples of integers of at least 0.

    Args:
      named: shapes by the names that errors give them.

    >>> check_shape(shape=(3, -1))
    Traceback (most recent call last):
    ValueError: shape must be a tuple of integers >= 0, got (3, -1)
    """
    for name, value in named.items():
        try:
            for size in value:
                check_count(0, size=size)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be a tuple of integers >= 0, got {value!r}") from None


def check_time(**named: ArrayLike) -> None:
    """Times in [0, 1], up to rounding.

    Args:
      named: numbers or arrays by the names that errors give them.

    >>> check_time(t=2.0)
    Traceback (most recent call last):
    ValueError: t must be in [0, 1], got 2.0
    """
    check(lambda t: (t >= -1e-5) & (t <= 1.0 + 1e-5), "in [0, 1]", **named)


def check_state(x_t: PyTree, **named: ArrayLike) -> None:
    """A state of floating arrays, and times in [0, 1], each a scalar or one for each example.

    Args:
      x_t: arrays ``(B, ...)``.
      named: the times, by name.

    >>> check_state(jnp.zeros((4, 2)), t=0.5, s=-1.0)
    Traceback (most recent call last):
    ValueError: s must be in [0, 1], got -1.0
    """
    check_floating(x_t=x_t)
    check_time(**named)
    check_per_example(x_t, **named)


def nan_unless(condition: ArrayLike, tree: PyTree) -> PyTree:
    """``tree`` with every value NaN unless the scalar ``condition`` holds: for values that are known at run time only.

    Args:
      condition: a scalar bool, concrete or traced.
      tree: floating arrays of any shapes.

    Returns:
      A tree shaped and typed like ``tree``.

    >>> print(nan_unless(False, jnp.ones(2)))
    [nan nan]
    """
    keep = lambda leaf: jnp.where(condition, leaf, jnp.asarray(jnp.nan, jnp.result_type(leaf)))
    return jax.tree.map(keep, tree)


def nan_unless_finite(tree: PyTree, *inputs: PyTree) -> PyTree:
    """``tree`` with every value NaN unless all values of ``inputs`` are finite; concrete inputs have been checked.

    For comparisons, counts and sorting, whose answer to NaN would be an ordinary number.

    Args:
      tree: floating arrays of any shapes, the answer.
      inputs: the trees that decide.

    Returns:
      A tree shaped and typed like ``tree``.

    >>> jax.jit(lambda x: nan_unless_finite(jnp.sum(x > 0.0, dtype=float), x))(jnp.array([1.0, jnp.nan]))
    Array(nan, dtype=float32)
    """
    traced = [leaf for leaf in jax.tree.leaves(inputs) if isinstance(leaf, Tracer)]
    if not traced:
        return tree
    return nan_unless(jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in traced])), tree)


def warn_caller(message: str) -> None:
    """Warns on behalf of the code outside scorekit that led here, through however many frames of it.

    Args:
      message: text of the ``UserWarning``.

    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warn_caller("two of three files were read")
    >>> [str(warning.message) for warning in caught]
    ['two of three files were read']
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("scorekit."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
