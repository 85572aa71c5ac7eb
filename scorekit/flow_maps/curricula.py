"""Which two points of a path a consistency model compares, from few and far to many and close."""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, NonNegative, PositiveInt, checked
from scorekit.checks import check, check_like, check_time
from scorekit.flow_maps._checks import check_order
from scorekit.numerics.coordinates import CoordinateName, frame
from scorekit.numerics.meshes import typed_as, unsplit
from scorekit.typing import Array, ArrayLike, Number, Schedule


@checked
def earlier_time(t: ArrayLike, ts: ArrayLike, steps: Annotated[ArrayLike, Between(1)]) -> Array:
    """The adjacent earlier time on a path that is divided into ``steps`` equal steps along ``ts``, at least ``ts[-1]``.

    Steps are equal in the index of ``ts``, with linear interpolation between its times, so that any grid can be refined
    or coarsened; ``steps`` may be traced, so that a curriculum does not recompile.

    Args:
      t: times ``(B,)``, from any sampler of :mod:`scorekit.times`.
      ts: decreasing times of a grid; finer grids are more accurate.
      steps: the number of steps of the path, at least 1; a smaller traced number gives NaN.

    Raises:
      ValueError: unless ``ts`` decreases.

    >>> [round(float(s), 3) for s in earlier_time(jnp.array([1.0, 0.3, 0.1]), jnp.array([1.0, 0.5, 0.0]), 4)]
    [0.75, 0.05, 0.0]
    """
    check_time(t=t, ts=ts)
    if jnp.ndim(ts) != 1 or jnp.shape(ts)[0] < 2:
        raise ValueError(f"ts must have shape (n + 1,) with n >= 1, got {jnp.shape(ts)}")
    check(lambda grid: np.diff(grid) < 0, "decreasing", ts=ts)
    if jnp.ndim(steps):
        check_like("t", t, steps=steps)
    ts, steps = jnp.asarray(ts), jnp.asarray(steps)
    positions = jnp.linspace(0.0, 1.0, ts.shape[0])
    position = jnp.interp(-unsplit(jnp.asarray(t)), -ts, positions)
    earlier = jnp.interp(jnp.minimum(position + 1.0 / unsplit(steps), 1.0), positions, ts)
    return typed_as(jnp.where(steps >= 1, earlier, jnp.nan), t)


@checked
def curriculum(progress: ArrayLike, first: PositiveInt, last: PositiveInt) -> Array:
    """The number of steps, a float, during training: from ``first``, doubled at equal intervals, to ``last``.

    Args:
      progress: the completed fraction of training.
      first: number of steps at the beginning: few, for a low variance.
      last: number of steps at the end: many, for a low bias.

    Raises:
      ValueError: unless ``first <= last``.

    >>> curriculum(jnp.array([0.0, 0.3, 0.5, 1.0]), first=10, last=40)
    Array([10., 10., 20., 40.], dtype=float32)

    Source: Song & Dhariwal 2023 (https://arxiv.org/abs/2310.14189).
    """
    check_time(progress=progress)
    if first > last:
        raise ValueError(f"first must be in 1..last = {last}, got {first}")
    doublings = jnp.floor(jnp.log2(last / first) + 1e-4)
    stage = jnp.minimum(jnp.floor(jnp.asarray(progress, float) * (doublings + 1.0)), doublings)
    return jnp.where(stage == doublings, float(last), first * 2.0**stage)


@checked
def step_weight(schedule: Schedule, t: ArrayLike, s: ArrayLike, coordinate: CoordinateName = "flow") -> Array:
    """``1 / |clock(t) - clock(s)|``: converts the distance of adjacent points into a rate along the path.

    Args:
      schedule: the noise schedule, which gives the clock.
      t: times ``(B,)``.
      s: the adjacent earlier times.
      coordinate: the coordinate that defines the clock. "sigma" gives iCT's ``1 / (sigma_t - sigma_s)``, which is 0
        where alpha is; "flow" and "angle" are finite at both ends.

    Raises:
      ValueError: unless ``s <= t``; traced, the weights are NaN.

    >>> from scorekit.schedules import RectifiedFlow
    >>> step_weight(RectifiedFlow(), jnp.array([0.75]), jnp.array([0.5]))
    Array([4.], dtype=float32)

    Source: Song & Dhariwal 2023 (https://arxiv.org/abs/2310.14189).
    """
    check_time(t=t, s=s)
    check_like("t", t, s=s)
    check_order(t, s)
    clock = lambda u: frame(coordinate, schedule.alpha(u), schedule.sigma(u)).clock
    return jnp.where(jnp.asarray(s) > t, jnp.nan, 1.0 / jnp.abs(clock(t) - clock(s)))


@checked
def tuning_time(
    schedule: Schedule,
    t: ArrayLike,
    stage: NonNegative[Number],
    *,
    base: Annotated[ArrayLike, Between(1, open="low")] = 2.0,
) -> Array:
    """The earlier time of consistency tuning (ECT): ``r = w max(0, 1 - base^-stage (1 + 8 sigmoid(-w)))``.

    r and w are the noise-to-signal ratios ``sigma / alpha`` at the earlier time s and at t; s is t where t is pure
    noise and the formula asks for more than 0. Stage 1 compares low noise with clean data, which is denoising; each
    stage divides the distance of the points by ``base``. The loss is :func:`consistency_training_loss` with
    :func:`step_weight` in the "sigma" coordinate and starts from a trained network.

    Args:
      schedule: the noise schedule, which gives r and w.
      t: times ``(B,)``, for instance of ``scorekit.times.LogNormalSigma(mean=-1.1, std=2.0)``.
      stage: the stage, usually ``ceil(step / steps_per_stage)``; may be traced, so that it does not recompile.
      base: the factor between stages.

    >>> from scorekit.schedules import RectifiedFlow
    >>> [round(float(s), 3) for s in tuning_time(RectifiedFlow(), jnp.array([0.2, 0.8]), 3)]
    [0.099, 0.774]

    Source: Geng et al. 2024, "Consistency models made easy" (https://arxiv.org/abs/2406.14548).
    """
    check_time(t=t)
    if jnp.ndim(stage):
        check_like("t", t, stage=stage)
    t = jnp.asarray(t)
    log_snr = schedule.log_snr(t)
    w = jnp.exp(-0.5 * log_snr)
    share = 1.0 - jnp.asarray(base, t.dtype) ** -jnp.asarray(stage, t.dtype) * (1.0 + 8.0 * jax.nn.sigmoid(-w))
    inside = (share > 0) & jnp.isfinite(log_snr)
    s = schedule.time_at(jnp.where(inside, log_snr - 2.0 * jnp.log(jnp.where(inside, share, 1.0)), 0.0))
    end = jnp.where(share > 0, t, 0.0)
    return jnp.where(jnp.isnan(t), jnp.nan, jnp.where(inside, jnp.clip(s, 0.0, t), end))
