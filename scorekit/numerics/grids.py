"""Checks of a time grid, and of the samples that a sampler made along it."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check_finite, check_real, nan_unless
from scorekit.numerics import wide
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike, PyTree, Schedule


def check_grid(ts: ArrayLike) -> Array:
    """Validates the times of a grid, ``t_i > t_(i+1)``, all within [0, 1]; custom samplers may call it.

    Args:
      ts: the times, ``(n + 1,)`` for n >= 1 steps.

    Returns:
      ``ts`` as an array ``(n + 1,)`` of at least float32; all NaN for traced times that do not decrease within [0, 1].

    Raises:
      ValueError: for another shape, complex times, or times that do not decrease strictly within [0, 1]; of traced
        times only shape and dtype are checked.

    >>> check_grid([1, 0])
    Array([1., 0.], dtype=float32)
    >>> check_grid([0.0, 1.0])
    Traceback (most recent call last):
    ValueError: ts must decrease strictly within [0, 1], got [0. 1.]
    """
    check_real(ts=ts)
    if np.ndim(ts) != 1 or np.shape(ts)[0] < 2:
        raise ValueError(f"ts must have shape (n + 1,) with n >= 1 steps, got shape {np.shape(ts)}")
    if not is_traced(ts):
        times = np.asarray(ts)
        if not (np.all(np.diff(times) < 0) and times[0] <= 1 and times[-1] >= 0):
            raise ValueError(f"ts must decrease strictly within [0, 1], got {times}")
        return wide(ts)
    ts = wide(ts)
    rounding = 1e-6  # a tuned grid may end this far outside, or repeat a time
    inside = (ts[0] <= 1 + rounding) & (ts[-1] >= -rounding)
    return nan_unless(inside & jnp.all(jnp.diff(ts) <= rounding), ts)


def check_samples(
    x: PyTree,
    /,
    *,
    schedule: Schedule | None = None,
    solver: Any = None,
    ts: Array | Sequence | None = None,
    advice: str = "denoiser must be finite along ts",
    **start: PyTree,
) -> PyTree:
    """Returns ``x``; a concrete ``x`` that is not finite raises a ``ValueError`` with a remedy. Traced values pass.

    Args:
      x: the samples.
      ts: the times of the sampler in their order, if it has any; of rows of times, the largest time of each row.
      schedule: the noise schedule, with ``ts``.
      solver: the solver, with ``ts``, if it is the choice of the caller.
      advice: the value that must be finite, and a remedy.
      start: the state with which the sampler began, by the name of the argument.

    >>> from scorekit.schedules import Cosine
    >>> x, ts = jnp.full(2, jnp.nan), jnp.array([1.0, 0.5])
    >>> check_samples(x, schedule=Cosine(), ts=ts, x_init=jnp.zeros(2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: denoiser must be finite along ts, but 2 of 2 values of the samples are not; a network that predicts ...
    """
    leaves = jax.tree.leaves(x)
    if any(map(is_traced, leaves)) or all(jnp.all(jnp.isfinite(leaf)) for leaf in leaves):
        return x
    check_finite(**start)
    broken = sum(int(jnp.sum(~jnp.isfinite(leaf))) for leaf in leaves)
    message = f"{advice}, but {broken} of {sum(leaf.size for leaf in leaves)} values of the samples are not"
    if ts is not None and schedule is not None:
        t = np.max(ts[0])
        if schedule.alpha(t) == 0:
            also = ", and the solver EulerMaruyama," if type(solver).__name__ == "EulerMaruyama" else ""
            divide = f"a network that predicts eps or the score{also} divide{'' if also else 's'} by alpha"
            message += f"; {divide}, which is 0 at t = {t:g}: begin at t_max=0.999"
        if schedule.sigma(t) == 0:
            message += f"; a network that predicts x0 divides by sigma, which is 0 at t = {t:g}: begin at t_min=0.001"
    raise ValueError(message)
