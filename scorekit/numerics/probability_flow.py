"""The right-hand side of the probability-flow ODE, and the checks and errors of its adaptive solution."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check, check_prediction
from scorekit.numerics.coordinates import CoordinateName, frame, log_snr_at
from scorekit.numerics.embedded_pair import Slope
from scorekit.trees import combine, is_traced
from scorekit.typing import Array, ArrayLike, Denoiser, PyTree, Schedule

_ADVICE = (
    "raise rtol or atol, raise max_steps, keep away from the ends (t below 1 or above 0), or use float64; slopes that "
    "are not finite come from the network, perhaps at a time at which its target is undefined"
)


def raise_if_failed(success: ArrayLike, nfe: ArrayLike) -> None:
    """Raises a ``RuntimeError`` that says what to try where ``success`` is False. Tracers are ignored.

    Args:
      success: whether the end was reached, for each example.
      nfe: network evaluations, for the message.

    >>> raise_if_failed(False, 62)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    RuntimeError: the ODE was not solved to its end in 62 network evaluations: raise rtol or atol, ...
    """
    if not is_traced(success) and not np.all(success):
        raise RuntimeError(f"the ODE was not solved to its end in {nfe} network evaluations: {_ADVICE}")


def probability_flow(
    denoiser: Denoiser,
    schedule: Schedule,
    t_first: ArrayLike,
    t_last: ArrayLike,
    like: PyTree,
    coordinate: CoordinateName = "flow",
) -> Slope:
    """``(clock, y) -> signal x0 + noise eps`` for ``y = x / scale``: the right-hand side for any ODE solver.

    Args:
      denoiser: ``(x_t, t) -> Prediction``.
      schedule: the noise schedule of the denoiser.
      t_first: one end of the interval, which contains all evaluated times.
      t_last: the other end.
      like: has the dtypes of the denoiser's input; ``y`` itself is at least float32.
      coordinate: "flow", "angle" or "sigma".

    >>> from scorekit import densities, denoisers, schedules
    >>> schedule = schedules.RectifiedFlow()
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=1.0), schedule)
    >>> probability_flow(denoiser, schedule, 1.0, 0.0, jnp.ones((1, 1)))(jnp.array(0.5), jnp.ones((1, 1)))
    Array([[0.]], dtype=float32)
    """
    low, high = jnp.minimum(t_first, t_last), jnp.maximum(t_first, t_last)
    dtypes = jax.tree.map(jnp.result_type, like)

    def slope(clock: Array, y: PyTree) -> PyTree:
        margin = 0.25 * math.sqrt(jnp.finfo(clock.dtype).eps)
        top = {"flow": 1.0 - margin, "angle": 0.5 * math.pi - margin, "sigma": None}[coordinate]
        time = schedule.time_at(log_snr_at(coordinate, jnp.clip(clock, margin, top)))
        time = jnp.clip(time, low, high).astype(clock.dtype)
        at = frame(coordinate, schedule.alpha(time), schedule.sigma(time))
        x = jax.tree.map(lambda leaf, dtype: leaf.astype(dtype), combine((at.scale, y)), dtypes)
        wide = functools.partial(jax.tree.map, lambda leaf, y: leaf.astype(y.dtype))
        x0, eps = check_prediction(denoiser(x, time))
        return combine((at.signal, wide(x0, y)), (at.noise, wide(eps, y)))

    return slope


def check_relative_tolerance(dtype, rtol: ArrayLike) -> None:
    """Raises a ``ValueError`` for a relative tolerance that a state of this dtype cannot meet.

    Args:
      dtype: a floating type.
      rtol: relative tolerance, a number or one for each example.

    >>> check_relative_tolerance(jnp.float32, 1e-9)
    Traceback (most recent call last):
    ValueError: rtol must be in [1.19e-07, 1), the precision of float32, got 1e-09
    """
    eps = float(jnp.finfo(dtype).eps)
    check(lambda r: (r >= eps) & (r < 1), f"in [{eps:.3g}, 1), the precision of {jnp.dtype(dtype)}", rtol=rtol)
