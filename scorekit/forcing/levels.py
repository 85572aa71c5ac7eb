"""Schedules of levels: the time of every frame before and after every step, ``(steps + 1, T)``.

All are rows of one grid ``t_0 > ... > t_n = 0``, which a chunk of frames enters ``delay`` steps after the chunk before:

    ``levels[k, i] = t_j``,   ``j = clip(k - delay floor(i / chunk), 0, n)``.

``delay = 0`` denoises all frames together, ``delay = n`` one chunk after the other, and in between the levels form a
pyramid, in which later frames have more noise.

Source: Chen et al. 2024, "Diffusion forcing" (https://arxiv.org/abs/2407.01392).
"""

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegativeInt, PositiveInt, checked
from scorekit.forcing._checks import check_ends_at_zero
from scorekit.solvers.grids import check_grid
from scorekit.typing import Array, ArrayLike


@checked
def full_sequence(ts: ArrayLike, length: PositiveInt) -> Array:
    """All frames at one level, as in a model of whole sequences: ``levels[k, i] = t_k``.

    Args:
      ts: decreasing times ``(n + 1,)`` from the most noise to 0, from :mod:`scorekit.solvers.grids`.
      length: number of frames T.

    Returns:
      Levels ``(n + 1, T)``.

    >>> full_sequence([1.0, 0.5, 0.0], 2).tolist()
    [[1.0, 1.0], [0.5, 0.5], [0.0, 0.0]]
    """
    return pyramid(ts, length, 0)


@checked
def autoregressive(ts: ArrayLike, length: PositiveInt, chunk: PositiveInt = 1) -> Array:
    """One frame, or chunk of frames, after the other, given clean earlier frames: a delay of all n steps.

    ``levels[k, i] = t_j`` with ``j = clip(k - n floor(i / chunk), 0, n)``.

    Args:
      ts: decreasing times ``(n + 1,)`` from the most noise to 0, from :mod:`scorekit.solvers.grids`.
      length: number of frames T.
      chunk: number of frames that are denoised together.

    Returns:
      Levels ``(n ceil(T / chunk) + 1, T)``.

    >>> autoregressive([1.0, 0.0], 3).tolist()
    [[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    return pyramid(ts, length, jnp.shape(check_grid(ts))[0] - 1, chunk)


@checked
def pyramid(ts: ArrayLike, length: PositiveInt, delay: NonNegativeInt, chunk: PositiveInt = 1) -> Array:
    """Every chunk of frames is some steps behind the one before: ``levels[k, i] = t_(k - delay floor(i / chunk))``.

    The slope is ``delay / chunk`` steps for each frame; frames wait at the first time and stay at the last.

    Args:
      ts: decreasing times ``(n + 1,)`` from the most noise to 0, from :mod:`scorekit.solvers.grids`.
      length: number of frames T.
      delay: number of steps; above n the next chunk waits ``delay - n`` steps in addition.
      chunk: number of frames that are denoised together.

    Returns:
      Levels ``(n + delay (ceil(T / chunk) - 1) + 1, T)``.

    >>> pyramid([1.0, 0.5, 0.0], 3, delay=1).tolist()
    [[1.0, 1.0, 1.0], [0.5, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]
    """
    ts = check_grid(ts)
    check_ends_at_zero("ts", ts)
    n, behind = ts.shape[0] - 1, delay * (np.arange(length) // chunk)
    return ts[np.clip(np.arange(n + behind[-1] + 1)[:, None] - behind, 0, n)]
