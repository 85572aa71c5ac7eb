"""Typical sets of any density: membership, entropy from samples, and the typicality of each step of a trajectory.

>>> print(excess_information(jnp.array([-1.0, -3.0]), 2.0))
[-1.  1.]
>>> entropy: Entropy = monte_carlo_entropy(jnp.array([-1.0, -2.0, -3.0]))
>>> print(f"{entropy.value:.1f} +- {entropy.standard_error:.2f} nats")
2.0 +- 0.58 nats
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Finite, Positive, checked
from scorekit.checks import check_finite, check_floating, check_not_nan, check_prediction, nan_unless_finite
from scorekit.numerics import wide
from scorekit.numerics.grids import check_grid
from scorekit.trees import combine, event_size, sum_per_example
from scorekit.typicality._units import Unit, in_nats
from scorekit.typing import Array, ArrayLike, Denoiser, PyTree, Schedule


@checked
def excess_information(log_density: ArrayLike, entropy: Finite[float]) -> Array:
    """``-log p(x) - H`` in nats: negative for examples more likely than typical ones, positive for less likely ones.

    Args:
      log_density: ``log p(x)`` in nats, any shape; may be infinite, but not NaN.
      entropy: entropy H in nats: ``density.entropy()`` or ``monte_carlo_entropy(...).value``.

    Source: Cover & Thomas 2006.
    """
    log_density = jnp.asarray(log_density)
    log_density = wide(log_density)
    check_not_nan(log_density=log_density)
    return nan_unless_finite(-log_density - entropy, entropy)


@checked
def typical_set(log_density: ArrayLike, entropy: Finite[float], epsilon: Positive[float], unit: Unit = "nats") -> Array:
    """Membership in the typical set, ``|-log p(x) - H| <= epsilon``; False for an infinite or traced NaN density.

    Args:
      log_density: ``log p(x)`` in nats, any shape; may be infinite, but not NaN.
      entropy: entropy H in nats: ``density.entropy()`` or ``monte_carlo_entropy(...).value``.
      epsilon: half the width of the set, in ``unit``, for complete examples (not per dimension).
      unit: unit of ``epsilon``.

    >>> from scorekit.densities import gaussian
    >>> g = gaussian(jnp.zeros(100), std=1.0)
    >>> x = jnp.stack([jnp.zeros(100), jnp.ones(100)])  # the mode, and a point at radius 10
    >>> typical_set(g.log_density(x), g.entropy(), epsilon=20.0)
    Array([False,  True], dtype=bool)

    Source: Cover and Thomas 2006.
    """
    return jnp.abs(excess_information(log_density, entropy)) <= in_nats(epsilon, unit)


class Entropy(NamedTuple):
    """An entropy in nats and its standard error, scalars; of :func:`monte_carlo_entropy`.

    Attributes:
      value: the entropy in nats.
      standard_error: standard error of the value.
    """

    value: Array
    standard_error: Array


def monte_carlo_entropy(log_density: ArrayLike) -> Entropy:
    """``H = -E log p(x)``: the mean of log-densities at samples, and its standard error ``std / sqrt(N)``.

    At samples of the model this is an unbiased estimate of its entropy; at data it is the cross-entropy, which the
    typicality test of Nalisnick et al. uses.

    Args:
      log_density: ``log p(x_i)`` in nats, ``(N,)`` with N >= 2.

    Source: Nalisnick et al. 2019 (https://arxiv.org/abs/1906.02994).
    """
    log_density = jnp.asarray(log_density)
    if log_density.ndim != 1 or log_density.shape[0] < 2:
        raise ValueError(f"log_density must have shape (N,) with N >= 2, got {log_density.shape}")
    check_finite(log_density=log_density)
    n = log_density.shape[0]
    found = Entropy(-jnp.mean(log_density), jnp.std(log_density, ddof=1) / math.sqrt(n))
    return nan_unless_finite(found, log_density)


@checked
def local_typicality(denoiser: Denoiser, schedule: Schedule, states: PyTree, ts: ArrayLike) -> Array:
    """The excess information of each step of a trajectory over its expectation; nats.

    ``-log p(x_s | x_t) - H[p(. | x_t)] = (|x_s - m|^2 / v - D) / 2``, where ``p(x_s | x_t) = N(m, v)`` is the ancestral
    step of the denoiser, ``m = alpha_s (1 - r) x0 + (sigma_s / sigma_t)^2 (alpha_t / alpha_s) x_t``,
    ``v = sigma_s^2 (1 - r)`` and ``r = SNR_t / SNR_s``. Along trajectories of the ancestral sampler it has mean 0 and
    standard deviation ``sqrt(D / 2)`` at every step, for any network. A sampler that always takes the most likely step
    has the value ``-D / 2`` throughout: its steps are too likely to be typical, as in greedy decoding.

    Args:
      denoiser, schedule: ``(x_t, t) -> Prediction`` with a scalar t, and its noise schedule.
      states: the states at ``ts``, leaves ``(n + 1, B, ...)``.
      ts: decreasing times ``(n + 1,)``; sigma must not be 0 at the last.

    Returns:
      The excess, ``(n, B)``.

    >>> from scorekit import densities, denoisers, schedules
    >>> schedule = schedules.Cosine()
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(4), std=1.0), schedule)
    >>> local_typicality(denoiser, schedule, jnp.zeros((3, 1, 4)), jnp.array([0.9, 0.5, 0.1]))
    Array([[-2.],
           [-2.]], dtype=float32)

    Source: Meister et al. 2023 (https://arxiv.org/abs/2202.00666), for words; for the step Ho et al. 2020, eq. 7
    (https://arxiv.org/abs/2006.11239).
    """
    check_grid(ts)
    check_floating(states=states)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(states)]
    if not shapes or any(len(shape) < 2 or shape[0] != np.shape(ts)[0] for shape in shapes):
        raise ValueError(f"states must have leaves ({np.shape(ts)[0]}, B, ...), one state for each of ts, got {shapes}")
    ts = jnp.asarray(ts, float)
    last, d = np.shape(ts)[0] - 1, event_size(jax.tree.map(lambda x: x[0], states))

    def one(inputs):
        x_t, x_s, t, s = inputs
        alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
        fresh = -jnp.expm1(schedule.log_snr(t) - schedule.log_snr(s))
        kept = jnp.square(sigma_s / schedule.sigma(t)) * schedule.alpha(t) / alpha_s
        off = combine((1.0, x_s), (-alpha_s * fresh, check_prediction(denoiser(x_t, t)).x0), (-kept, x_t))
        return 0.5 * (sum_per_example(jnp.square, off) / (jnp.square(sigma_s) * fresh) - d)

    before, after = (jax.tree.map(lambda x, a=a: x[a : a + last], states) for a in (0, 1))
    return jax.lax.map(one, (before, after, ts[:-1], ts[1:]))
