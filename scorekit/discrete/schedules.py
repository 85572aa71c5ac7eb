"""Schedules of discrete diffusion: the probability ``alpha(t)`` that a token is kept.

``q(z_t | x0) = alpha(t) [z_t = x0] + sigma(t) pi(z_t)`` with ``sigma = 1 - alpha``: the nouns of
:mod:`scorekit.schedules`, which however mixes signal and noise instead of exchanging them.
``log_snr(t) = log(alpha / sigma)``, so that the samplers of :mod:`scorekit.times` and the grids of
:mod:`scorekit.solvers.grids` take these schedules. alpha decreases from 1 to 0. ``sigma`` is computed without
cancellation: the weight of the loss divides by it.
"""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp

from scorekit.arguments import Between, Positive, checked
from scorekit.discrete._checks import check_ends
from scorekit.numerics import wide
from scorekit.trees import as_pytree, pytree_dataclass
from scorekit.typing import Array, ArrayLike, Number, Schedule

__all__ = ["Cosine", "Linear", "LogLinear", "Polynomial", "schedule_from_function"]


class _Keep(Schedule):
    """``alpha = 1 - sigma`` and the log-SNR of a subclass that defines ``sigma``."""

    def sigma(self, t: ArrayLike) -> Array:
        raise NotImplementedError

    def alpha(self, t: ArrayLike) -> Array:
        return 1.0 - self.sigma(t)

    def log_snr(self, t: ArrayLike) -> Array:
        return jnp.log(self.alpha(t)) - jnp.log(self.sigma(t))


@pytree_dataclass
class Linear(_Keep):
    """``alpha = 1 - t``: the times at which the tokens are replaced are uniform.

    >>> float(Linear().alpha(0.25))
    0.75

    Source: Shi et al. 2024 (https://arxiv.org/abs/2406.04329).
    """

    def sigma(self, t):
        return wide(t)

    def time_at(self, log_snr):
        return jax.nn.sigmoid(-wide(log_snr))


@pytree_dataclass
class Polynomial(_Keep):
    """``alpha = 1 - t^power``: with a power above 1 fewer tokens are replaced early.

    Args:
      power: the exponent; 1 is :class:`Linear`.

    >>> float(Polynomial(power=2.0).alpha(0.5))
    0.75

    Source: Shi et al. 2024 (https://arxiv.org/abs/2406.04329).
    """

    power: Positive[Number] = 2.0

    def sigma(self, t):
        return jnp.power(wide(t), self.power)

    def alpha(self, t):
        t = wide(t)
        inside = ~((t <= 0) | (t >= 1))  # NaN stays NaN
        alpha = -jnp.expm1(self.power * jnp.log(jnp.where(inside, t, 0.5)))
        return jnp.where(inside, alpha, jnp.where(t > 0, 0.0, 1.0))

    def time_at(self, log_snr):
        return jnp.power(jax.nn.sigmoid(-wide(log_snr)), 1.0 / self.power)


@pytree_dataclass
class Cosine(_Keep):
    """``alpha = 1 - sin(pi t / 2)``: a sampler with equal steps reveals few tokens first and more later.

    >>> Cosine().alpha(jnp.array([0.0, 1.0])).tolist()
    [1.0, 0.0]

    Source: Chang et al. 2022 (https://arxiv.org/abs/2202.04200), whose mask ratio is ``cos(pi r / 2)`` with r = 1 - t.
    """

    def sigma(self, t):
        return jnp.sin(0.5 * jnp.pi * wide(t))

    def alpha(self, t):
        t = wide(t)
        late = 2.0 * jnp.square(jnp.sin(0.25 * jnp.pi * (1.0 - t)))  # without cancellation
        return jnp.where(t < 0.5, 1.0 - self.sigma(t), late)

    def time_at(self, log_snr):
        return jnp.arcsin(jax.nn.sigmoid(-wide(log_snr))) / (0.5 * jnp.pi)


@pytree_dataclass
class LogLinear(_Keep):
    """``alpha = 1 - (1 - alpha_min) t``: the total noise ``-log(alpha)`` of SEDD and MDLM.

    Args:
      alpha_min: the probability that a token is kept at t = 1; 0 is :class:`Linear`.

    >>> round(float(LogLinear(alpha_min=0.01).alpha(0.5)), 3)
    0.505

    Source: Lou et al. 2023 (https://arxiv.org/abs/2310.16834); Sahoo et al. 2024 (https://arxiv.org/abs/2406.07524).
    """

    alpha_min: Annotated[Number, Between(0, 0.01)] = 1e-3

    def sigma(self, t):
        return (1.0 - self.alpha_min) * wide(t)

    def alpha(self, t):
        t = wide(t)
        return (1.0 - t) + self.alpha_min * t

    def time_at(self, log_snr):
        return jax.nn.sigmoid(-wide(log_snr)) / (1.0 - self.alpha_min)


@pytree_dataclass
class _FromFunction(_Keep):
    """See :func:`schedule_from_function`."""

    function: Callable[[Array], Array]

    def sigma(self, t):
        return 1.0 - self.alpha(t)

    def alpha(self, t):
        return jnp.asarray(self.function(wide(t)))

    def time_at(self, log_snr):
        alpha = jax.nn.sigmoid(wide(log_snr))

        def halve(_, ends):
            low, high = ends
            middle = 0.5 * (low + high)
            earlier = self.alpha(middle) < alpha
            return jnp.where(earlier, low, middle), jnp.where(earlier, middle, high)

        low, high = jax.lax.fori_loop(0, 40, halve, (jnp.zeros_like(alpha), jnp.ones_like(alpha)))
        return 0.5 * (low + high)


@checked
def schedule_from_function(alpha: Callable[[Array], Array]) -> Schedule:
    """A schedule from any function that decreases from 1 at t = 0 to 0 at t = 1.

    ``time_at`` bisects it; ``sigma = 1 - alpha``, with the rounding errors of that difference near t = 0.

    Args:
      alpha: an elementwise function of the time, differentiable, that falls from 1 to 0, up to 0.01.

    >>> schedule = schedule_from_function(lambda t: (1.0 - t) ** 2)
    >>> round(float(schedule.time_at(schedule.log_snr(0.25))), 4)
    0.25

    Source: Sahoo et al. 2024 (https://arxiv.org/abs/2406.07524).
    """
    check_ends(alpha)
    return _FromFunction(function=as_pytree(alpha))
