"""The forward process: perturbation, the SDE, its transition and posterior kernels, and the prior.

Marginal ``q(x_t | x0) = N(alpha_t x0, sigma_t^2)`` of the SDE ``dx = f(t) x dt + g(t) dw`` with ``f = d log(alpha)/dt``
and ``g^2 = d sigma^2/dt - 2 f sigma^2`` (Song et al. 2021, https://arxiv.org/abs/2011.13456; Kingma et al. 2021,
https://arxiv.org/abs/2107.00630).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from scorekit.arguments import checked
from scorekit.checks import check, check_floating, check_levels, check_like, check_per_example, check_time
from scorekit.schedules import time_derivative
from scorekit.trees import combine, is_traced, normal_like
from scorekit.typing import Array, ArrayLike, Key, Prediction, PyTree, Schedule

__all__ = [
    "Kernel",
    "diffusion_squared",
    "drift",
    "perturb",
    "posterior",
    "sample_prior",
    "score",
    "transition",
]


@checked
def perturb(schedule: Schedule, x0: PyTree, eps: PyTree, t: ArrayLike) -> PyTree:
    """``x_t = alpha(t) x0 + sigma(t) eps``, shaped and typed like ``x0``.

    Args:
      schedule: gives ``alpha(t)`` and ``sigma(t)``.
      x0: clean data, leaves ``(B, ...)``.
      eps: standard normal noise shaped like ``x0``.
      t: time, scalar, ``(B,)``, or ``(B, T)`` for the frames of leaves ``(B, T, ...)``.

    >>> from scorekit.schedules import RectifiedFlow
    >>> perturb(RectifiedFlow(), jnp.ones(2), jnp.zeros(2), 0.25)
    Array([0.75, 0.75], dtype=float32)
    """
    check_floating(x0=x0, eps=eps)
    check_like("x0", x0, eps=eps)
    check_time(t=t)
    check_levels(x0, t=t)
    return combine((schedule.alpha(t), x0), (schedule.sigma(t), eps))


@checked
def drift(schedule: Schedule, t: ArrayLike) -> Array:
    """``f(t) = d log(alpha) / dt`` of the drift, shaped like ``t``; by the formula of the schedule, or differentiated.

    Args:
      schedule: any :class:`~scorekit.typing.Schedule`; a method ``drift(t)`` of its own is used if it has one.
      t: times in [0, 1], any shape, which the result has.

    >>> from scorekit.schedules import RectifiedFlow
    >>> drift(RectifiedFlow(), 0.5).round(3)
    Array(-2., dtype=float32)
    """
    check_time(t=t)
    exact = getattr(schedule, "drift", None)
    return exact(t) if exact is not None else time_derivative(schedule.alpha, t) / schedule.alpha(t)


@checked
def diffusion_squared(schedule: Schedule, t: ArrayLike) -> Array:
    """``g(t)^2 = d sigma^2/dt - 2 f sigma^2``, shaped like ``t``; by the formula of the schedule, or differentiated.

    Args:
      schedule: any :class:`~scorekit.typing.Schedule`; a method ``diffusion_squared(t)`` of its own is used if it has
        one.
      t: times in [0, 1], any shape, which the result has.

    >>> from scorekit.schedules import RectifiedFlow
    >>> diffusion_squared(RectifiedFlow(), 0.5).round(3)
    Array(2., dtype=float32)
    """
    check_time(t=t)
    exact = getattr(schedule, "diffusion_squared", None)
    if exact is not None:
        return exact(t)
    return -jnp.square(schedule.sigma(t)) * time_derivative(schedule.log_snr, t)  # without a difference of large terms


class Kernel(NamedTuple):
    """A Gaussian conditional ``N(sum_i scale_i x_i, std^2)``.

    Attributes:
      scales: the scales of the conditions x_i, in order.
      std: the standard deviation.

    >>> kernel = Kernel(scales=(jnp.float32(0.5),), std=jnp.float32(0.1))
    >>> [float(scale) for scale in kernel.scales]
    [0.5]
    """

    scales: tuple[Array, ...]
    std: Array


def _snr_drop(schedule: Schedule, t: ArrayLike, s: ArrayLike) -> Array:
    """``1 - SNR(t) / SNR(s)`` for ``s <= t``, from 0 to 1; exact where alpha(t) or sigma(s) vanishes."""
    check_time(t=t, s=s)
    if not is_traced(t):
        check(lambda s: ~(s > np.asarray(t)), f"<= t = {t}", s=s)
    ratio = schedule.alpha(t) * schedule.sigma(s) / (schedule.alpha(s) * schedule.sigma(t))
    drop = jnp.maximum((1.0 - ratio) * (1.0 + ratio), 0.0)
    return jnp.where(jnp.asarray(s) > t, jnp.nan, drop)


@checked
def transition(schedule: Schedule, t: ArrayLike, s: ArrayLike) -> Kernel:
    """The forward kernel ``q(x_t | x_s)`` for ``s < t``; its scale multiplies ``x_s``.

    ``N((alpha_t / alpha_s) x_s, sigma_t^2 (1 - SNR_t / SNR_s))``.

    Args:
      schedule: gives ``alpha`` and ``sigma`` at both times.
      t: time of the noisier state, in [0, 1], a scalar or ``(B,)``.
      s: time of the less noisy state, ``s <= t``; for traced times in another order the result is NaN.

    >>> from scorekit.schedules import RectifiedFlow
    >>> kernel = transition(RectifiedFlow(), 0.8, 0.5)
    >>> round(float(kernel.scales[0]), 3), round(float(kernel.std), 3)
    (0.4, 0.775)
    """
    drop = _snr_drop(schedule, t, s)
    return Kernel((schedule.alpha(t) / schedule.alpha(s),), schedule.sigma(t) * jnp.sqrt(drop))


@checked
def posterior(schedule: Schedule, t: ArrayLike, s: ArrayLike) -> Kernel:
    """The reverse kernel ``q(x_s | x_t, x0)`` for ``s < t``; its scales multiply ``x_t`` and ``x0``.

    ``mean = (alpha_t sigma_s^2 / (alpha_s sigma_t^2)) x_t + alpha_s (1 - SNR_t / SNR_s) x0``,
    ``variance = sigma_s^2 (1 - SNR_t / SNR_s)``.

    Args:
      schedule: gives ``alpha`` and ``sigma`` at both times.
      t: time of the noisier state, in [0, 1], a scalar or ``(B,)``.
      s: time of the less noisy state, ``s <= t``; for traced times in another order the result is NaN.

    >>> from scorekit.schedules import RectifiedFlow
    >>> [round(float(scale), 3) for scale in posterior(RectifiedFlow(), 0.8, 0.5).scales]
    [0.156, 0.469]
    """
    drop, sigma_s = _snr_drop(schedule, t, s), schedule.sigma(s)
    noise = schedule.alpha(t) * jnp.square(sigma_s / schedule.sigma(t)) / schedule.alpha(s)
    return Kernel((noise, schedule.alpha(s) * drop), sigma_s * jnp.sqrt(drop))


@checked
def sample_prior(key: Key, schedule: Schedule, like: PyTree, t: ArrayLike = 1.0) -> PyTree:
    """Draws from the prior ``N(0, sigma(t)^2)``, the initial state of sampling.

    Args:
      key: PRNG key.
      schedule: gives the standard deviation ``sigma(t)``.
      like: arrays or ``jax.ShapeDtypeStruct`` with the shapes and dtypes of the result.
      t: the time at which sampling starts.

    >>> import jax
    >>> from scorekit.schedules import GeometricVE
    >>> x = sample_prior(jax.random.key(0), GeometricVE(sigma_min=0.01, sigma_max=50.0), jnp.zeros((10000, 1)))
    >>> 49 < float(x.std()) < 51
    True
    """
    if isinstance(like, tuple) and like and all(isinstance(size, int) for size in like):
        raise ValueError(f"like must be an array or a jax.ShapeDtypeStruct, got the shape {like}: jnp.zeros({like})")
    check_floating(like=like)
    check_time(t=t)
    noise = normal_like(key, like)
    check_per_example(noise, t=t)
    return combine((schedule.sigma(t), noise))


@checked
def score(schedule: Schedule, prediction: Prediction, t: ArrayLike) -> PyTree:
    """``grad_x log p_t(x_t) = -eps / sigma(t)``, shaped like ``prediction.eps``.

    Args:
      schedule: gives ``sigma(t)``, which must be > 0.
      prediction: the denoiser's ``(x0, eps)``.
      t: time of the prediction, a scalar or ``(B,)``.

    >>> from scorekit.schedules import RectifiedFlow
    >>> score(RectifiedFlow(), Prediction(jnp.zeros(2), jnp.ones(2)), 0.5)
    Array([-2., -2.], dtype=float32)

    Source: Vincent 2011.
    """
    check_floating(prediction=prediction)
    check_time(t=t)
    check_per_example(prediction.eps, t=t)
    return combine((-1.0 / schedule.sigma(t), prediction.eps))
