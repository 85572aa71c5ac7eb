"""The tables of :mod:`.few_steps` as arrays, and the times that they fit between."""

import json
from importlib import resources
from typing import Annotated, TypeAlias

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between
from scorekit.typing import Array, ArrayLike, Schedule

HISTORY = 4
"""Earlier slopes that a step may use."""
TABLES: dict[str, dict[str, list[list[float]]]] = json.loads(
    resources.files("scorekit.samplers").joinpath("few_steps.json").read_text(encoding="utf-8")
)
"""By guidance scale and number of steps: log-SNR of the evaluation, d, and weights, newest first, of each step."""
GuidanceScale: TypeAlias = Annotated[float, Between(1, 8)]
_OCTAVES = np.log2([float(scale) for scale in TABLES])


def counts(guidance_scale: ArrayLike | None = None) -> list[int]:
    """The numbers of steps that have a table; with a guidance scale, the numbers that have a table for each scale."""
    return [int(n) for n in TABLES["1"] if guidance_scale is None or all(n in tables for tables in TABLES.values())]


def encloses(
    schedule: Schedule,
    steps: int,
    t_max: ArrayLike,
    t_min: ArrayLike,
    sigma_data: ArrayLike,
    guidance_scale: ArrayLike | None = None,
) -> Array:
    """Whether the evaluations of :func:`few_steps` lie between these times.

    >>> from scorekit.schedules import RectifiedFlow
    >>> bool(encloses(RectifiedFlow(), 5, 0.5, 0.0, 1.0))
    False
    """
    levels = table(steps, guidance_scale)[0] - 2.0 * jnp.log(sigma_data)
    return (schedule.log_snr(t_max) < levels[0]) & (schedule.log_snr(t_min) > levels[-1])


def table(steps: int, guidance_scale: ArrayLike | None = None) -> tuple[Array, Array, Array]:
    """Log-SNR of the evaluations ``(n,)``, d ``(n,)`` and weights ``(n, 5)``, linear in the logarithm of the scale."""
    if str(steps) not in map(str, counts(guidance_scale)):  # 8.0 is not
        guided = "" if guidance_scale is None else " with a guidance scale"
        raise ValueError(f"steps must be one of {', '.join(map(str, counts(guidance_scale)))}{guided}, got {steps}")
    scales = ["1"] if guidance_scale is None else list(TABLES)
    padded = [[(*row, *[0.0] * (3 + HISTORY - len(row))) for row in TABLES[scale][str(steps)]] for scale in scales]
    rows = jnp.asarray(padded, float)
    if guidance_scale is not None:
        rows = jnp.tensordot(jnp.maximum(0.0, 1.0 - jnp.abs(jnp.log2(guidance_scale) - _OCTAVES)), rows, 1)
    rows = rows.reshape(steps, 3 + HISTORY)
    return rows[:, 0], rows[:, 1], rows[:, 2:]
