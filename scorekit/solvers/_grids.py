"""The check of a time grid."""

import jax.numpy as jnp
import numpy as np

from scorekit.checks import nan_unless
from scorekit.schedules._numerics import as_time
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike


def check_grid(ts: ArrayLike) -> Array:
    """The times of a grid, validated, as samplers of your own may do: ``t_i > t_(i+1)``, all within [0, 1].

    Args:
      ts: the times, ``(n + 1,)`` for n >= 1 steps.

    Returns:
      ``ts`` as an array ``(n + 1,)`` of at least float32; all NaN for traced times that do not decrease within [0, 1].

    Raises:
      ValueError: for another shape, or times that do not decrease strictly within [0, 1]; of traced times only the
        shape is checked.

    >>> check_grid([1, 0])
    Array([1., 0.], dtype=float32)
    >>> check_grid([0.0, 1.0])
    Traceback (most recent call last):
    ValueError: ts must decrease strictly within [0, 1], got [0. 1.]
    """
    if np.ndim(ts) != 1 or np.shape(ts)[0] < 2:
        raise ValueError(f"ts must have shape (n + 1,) with n >= 1 steps, got shape {np.shape(ts)}")
    if not is_traced(ts):
        times = np.asarray(ts)
        if not (np.all(np.diff(times) < 0) and times[0] <= 1 and times[-1] >= 0):
            raise ValueError(f"ts must decrease strictly within [0, 1], got {times}")
        return as_time(ts)
    ts = as_time(ts)
    rounding = 1e-6  # a tuned grid may end this far outside, or repeat a time
    inside = (ts[0] <= 1 + rounding) & (ts[-1] >= -rounding)
    return nan_unless(inside & jnp.all(jnp.diff(ts) <= rounding), ts)
