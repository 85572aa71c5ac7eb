"""Checks of arguments that the samplers share."""

import numpy as np

from scorekit.trees import is_traced
from scorekit.typing import ArrayLike


def check_grid(ts: ArrayLike) -> None:
    """Raises a ``ValueError`` unless ``ts`` is a decreasing grid in [0, 1]; of traced times only the shape is checked.

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
