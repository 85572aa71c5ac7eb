"""Hyper-parameters of guidance rules that may be functions of the time, and checks of predictions."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from scorekit.arguments import Finite
from scorekit.checks import check, check_levels, check_like
from scorekit.numerics import wide
from scorekit.typing import Array, Number, Prediction, PyTree

Scale: TypeAlias = Finite[Number] | Callable[[Array], Array]
"""A guidance scale: a scalar, one value per example ``(B,)``, or a function of the time."""


def value_at(parameter: Scale, x_t: PyTree, t: Array, name: str = "guidance_scale") -> Array:
    """The value at time t of a hyper-parameter that may be a function of the time, in at least float32.

    Raises a ``ValueError`` unless the value is a scalar or one value for each example, or each frame, of ``x_t``.

    Args:
      parameter: a scalar, ``(B,)``, or a function of the time.
      x_t: the state, leaves ``(B, ...)``.
      t: a scalar or ``(B,)``.
      name: name of the parameter in the message.

    >>> value_at(lambda t: 2.0 * t, np.ones((1, 2)), 0.5).item()
    1.0
    """
    value = wide(parameter(wide(t)) if callable(parameter) else parameter)
    check_levels(x_t, **{name: value})
    return value


def check_prediction(x_t: PyTree, prediction: Prediction) -> None:
    """Raises a ``ValueError`` unless both halves of a prediction are shaped like the state.

    Args:
      x_t: the state, leaves ``(B, ...)``.
      prediction: the pair of trees to compare with it.

    >>> check_prediction(np.ones((1, 2)), Prediction(np.ones((1, 2)), np.ones((1, 2))))
    """
    check_like("x_t", Prediction(x_t, x_t), prediction=prediction)


def check_scale(**named: Any) -> None:
    """Raises a ``ValueError`` that names the first scale that is not finite; functions of the time are not checked.

    Args:
      named: scales under their names.

    >>> check_scale(guidance_scale=np.inf)
    Traceback (most recent call last):
    ValueError: guidance_scale must be finite, got inf
    """
    check(np.isfinite, "finite", **{name: value for name, value in named.items() if not callable(value)})
