"""The table of :mod:`.few_steps` as arrays, and the times that it fits between."""

import jax.numpy as jnp

from scorekit.samplers._few_steps_table import TABLE
from scorekit.typing import Array, ArrayLike, Schedule

HISTORY = 4
"""Earlier slopes that a step may use."""


def encloses(schedule: Schedule, steps: int, t_max: ArrayLike, t_min: ArrayLike, sigma_data: ArrayLike) -> Array:
    """Whether the evaluations of :func:`few_steps` lie between these times.

    >>> from scorekit.schedules import rectified_flow
    >>> bool(encloses(rectified_flow(), 5, 0.5, 0.0, 1.0))
    False
    """
    levels = table(steps)[0] - 2.0 * jnp.log(sigma_data)
    return (schedule.log_snr(t_max) < levels[0]) & (schedule.log_snr(t_min) > levels[-1])


def table(steps: int) -> tuple[Array, Array, Array]:
    """Log-SNR of the evaluations ``(n,)``, d ``(n,)`` and weights ``(n, 5)``."""
    if steps not in TABLE:
        raise ValueError(f"steps must be one of {', '.join(map(str, TABLE))}, got {steps}")
    levels, keep, weights = zip(*TABLE[steps], strict=True)
    padded = [(*row, *[0.0] * (1 + HISTORY - len(row))) for row in weights]
    return jnp.asarray(levels, float), jnp.asarray(keep, float), jnp.asarray(padded, float)
