"""Bridges of a noise schedule: its forward process, pinned at x1.

Given both ends the state is ``q(x_t | x0, x1) = N(alpha x0 + r (alpha / alpha_1)(x1 - alpha_1 x0), sigma^2 (1 - r))``
with ``r = SNR_1 / SNR_t``. Written as ``alpha x0 + sigma eps`` it is a noised example whose noise carries it to x1, and
given x0 the step from t to s is the posterior ``q(x_s | x_t, x0)`` of the schedule, whatever x1 is: therefore losses,
targets and solvers of the reverse SDE need not know that the process is a bridge.

Source: Liu et al. 2023 (https://arxiv.org/abs/2302.05872); Zhou et al. 2023 (https://arxiv.org/abs/2309.16948).
"""

import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.checks import check, check_floating, check_like, check_per_example, check_time
from scorekit.schedules import EDM
from scorekit.trees import combine
from scorekit.typing import ArrayLike, Number, PyTree, Schedule


@checked
def brownian_schedule(std: Positive[Number] = 1.0) -> Schedule:
    """``alpha = 1``, ``sigma = std sqrt(t)``: its bridge is a Brownian bridge of this standard deviation, as in I2SB.

    With it ``q(x_t | x0, x1) = N((1 - t) x0 + t x1, std^2 t (1 - t))``. Another clock is another grid of times.

    Args:
      std: standard deviation of the Brownian motion at t = 1; the bridge has at most half of it, at t = 1/2.

    >>> brownian_schedule(2.0).sigma(0.25)
    Array(1., dtype=float32)
    """
    return EDM(sigma_min=0.0, sigma_max=std, rho=0.5)


@checked
def bridge_noise(schedule: Schedule, x0: PyTree, x1: PyTree, z: PyTree, t: ArrayLike) -> PyTree:
    """The noise of the bridge: ``alpha x0 + sigma eps`` is the state between x0 and x1 at t; shaped like ``x0``.

    ``eps = sqrt(r SNR_1) (x1 / alpha_1 - x0) + sqrt(1 - r) z`` with ``r = SNR_1 / SNR_t``: z at t = 0, and the
    noise that leads to x1 at t = 1.

    Args:
      schedule: a schedule with signal and noise at t = 1, such as :func:`brownian_schedule`.
      x0: data, leaves ``(B, ...)``.
      x1: end of the bridge, shaped like ``x0``; paired with it or not.
      z: standard normal noise shaped like ``x0``.
      t: time in [0, 1], a scalar or ``(B,)``.

    >>> schedule, zero = brownian_schedule(2.0), jnp.zeros(1)
    >>> schedule.sigma(0.25) * bridge_noise(schedule, zero, jnp.ones(1), zero, 0.25)  # a quarter of the way
    Array([0.25], dtype=float32)
    """
    check_floating(x0=x0, x1=x1, z=z)
    check_like("x0", x0, x1=x1, z=z)
    check_time(t=t)
    check_per_example(x0, t=t)
    last = schedule.log_snr(1.0)
    check(jnp.isfinite, "finite, or x1 is nothing but noise", **{"schedule.log_snr(1)": last})
    drop = jnp.minimum(last - schedule.log_snr(t), 0.0)  # log r
    pull = jnp.exp(0.5 * (drop + last))
    return combine((pull / schedule.alpha(1.0), x1), (-pull, x0), (jnp.sqrt(-jnp.expm1(drop)), z))
