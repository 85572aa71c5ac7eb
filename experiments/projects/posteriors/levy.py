"""Signals with independent increments, and exact samples of their posteriors for any linear observation.

``x = C d`` sums independent increments ``d_i`` of one law, and ``y = A x + s z``. Every law is a mixture of Gaussians
of random variances v (and of zeros, for the sparse one), so that a Gibbs sampler alternates draws from closed forms:

==================== ========================= ====================================================
law                  variances v               v given the increment d
==================== ========================= ====================================================
"gaussian"           constant                  constant: the draws are independent
"laplace"            exponential, ``2 b^2``    1 / v inverse Gaussian, ``(1 / (b |d|), 1 / b^2)``
"student"            inverse gamma             inverse gamma
"bernoulli_laplace"  as laplace, or d = 0      as laplace; exponential where d = 0
==================== ========================= ====================================================

and d given v and y is Gaussian. The support of the sparse law is drawn with d integrated out, one indicator after the
other, and neighbours exchange their indicators: a jump moves along the signal in one step.

>>> signals = levy("laplace", 2, std=1.0)
>>> x = gibbs(jax.random.key(0), signals, jnp.eye(2), jnp.array([0.5, 3.0]), 0.1, draws=200)
>>> x.shape, bool(jnp.abs(x.mean(0) - jnp.array([0.5, 3.0])).max() < 0.1)
((200, 2), True)
"""

from typing import Annotated, Literal, get_args

import jax
import jax.numpy as jnp

from scorekit.arguments import Between, NonNegativeInt, Positive, PositiveInt, checked
from scorekit.checks import check_finite
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key, Number

__all__ = ["LEVY_LAWS", "LevySignals", "gibbs", "levy"]

_Law = Literal["gaussian", "laplace", "student", "bernoulli_laplace"]
LEVY_LAWS: tuple[_Law, ...] = get_args(_Law)
"""Names of the laws of increments."""


@pytree_dataclass
class LevySignals:
    """Signals ``(D,)`` that begin at 0 and have independent increments; build it with :func:`levy`.

    Attributes:
      law: name of the law of the increments.
      dim: D.
      std: standard deviation of an increment.
      freedom: degrees of freedom of "student".
      probability: probability of a jump of "bernoulli_laplace".

    >>> levy("bernoulli_laplace", 4, probability=1e-9).sample(jax.random.key(0), (2,)).tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    law: str = static()
    dim: int = static()
    std: Number
    freedom: Number
    probability: Number

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + (D,)``.

        Args:
          key: PRNG key.
          shape: leading axes of the draws.

        Returns:
          Signals ``shape + (D,)``.
        """
        for_variance, for_support, for_noise = jax.random.split(key, 3)
        size = (*shape, self.dim)
        variance = self._variances(for_variance, size) * self._support(for_support, size)
        return jnp.cumsum(jnp.sqrt(variance) * jax.random.normal(for_noise, size), -1)

    def covariance(self) -> Array:
        """The covariance ``std^2 min(i, j)``, counted from 1.

        Returns:
          ``(D, D)``.

        >>> levy("laplace", 2).covariance().tolist()
        [[1.0, 1.0], [1.0, 2.0]]
        """
        i = jnp.arange(1.0, self.dim + 1)
        return jnp.square(self.std) * jnp.minimum(i[:, None], i)

    @property
    def _squared_scale(self) -> Number:
        """``b^2`` of a Laplace law (not zero), the squared scale of Student's."""
        if self.law == "student":
            return self.std**2 * (self.freedom - 2.0) / self.freedom
        return self.std**2 / (2.0 * (self.probability if self.law == "bernoulli_laplace" else 1.0))

    def _variances(self, key: Key, size: tuple[int, ...], d: ArrayLike = 0.0, known: ArrayLike = False) -> Array:
        """The variances v, given the increments where ``known``."""
        square = jnp.square(d)
        match self.law:
            case "gaussian":
                return jnp.full(size, jnp.square(self.std))
            case "student":
                shape = 0.5 * (self.freedom + jnp.asarray(known, float))
                rate = 0.5 * (self.freedom * self._squared_scale + jnp.where(known, square, 0.0))
                return rate / jax.random.gamma(key, shape, size)
        for_prior, for_normal, for_choice = jax.random.split(key, 3)
        prior = 2.0 * self._squared_scale * jax.random.exponential(for_prior, size)
        mean = jnp.sqrt(1.0 / (self._squared_scale * jnp.maximum(square, 1e-20)))
        a = 0.5 * mean * self._squared_scale * jnp.square(jax.random.normal(for_normal, size))
        ratio = 1.0 + a + jnp.sqrt(a * (2.0 + a))  # mean / ratio and mean * ratio are the roots
        first = jax.random.uniform(for_choice, size) * (1.0 + 1.0 / ratio) <= 1.0
        return jnp.where(known, jnp.where(first, ratio, 1.0 / ratio) / mean, prior)

    def _support(self, key: Key, size: tuple[int, ...]) -> Array:
        """Where increments are not 0."""
        sparse = self.law == "bernoulli_laplace"
        return jax.random.bernoulli(key, self.probability if sparse else 1.0, size)


@checked
def levy(
    law: _Law,
    dim: PositiveInt = 64,
    *,
    std: Positive = 1.0,
    freedom: Annotated[Number, Between(2, open="low")] = 3.0,
    probability: Annotated[Number, Between(0, 1, "both")] = 0.1,
) -> LevySignals:
    """Signals with independent increments, ``x_k = sum_{j <= k} d_j``.

    Args:
      law: one of :data:`LEVY_LAWS`.
      dim: number of values D.
      std: standard deviation of an increment.
      freedom: degrees of freedom of "student"; with 2 or fewer an increment has no variance.
      probability: probability of a jump of "bernoulli_laplace".

    Returns:
      :class:`LevySignals`.

    >>> levy("gaussian", 2).covariance().tolist()
    [[1.0, 1.0], [1.0, 2.0]]

    Source: Unser & Tafti 2014, An introduction to sparse stochastic processes, chapter 7.
    """
    return LevySignals(law=law, dim=dim, std=std, freedom=freedom, probability=probability)


@checked
def gibbs(
    key: Key,
    signals: LevySignals,
    matrix: ArrayLike,
    observation: ArrayLike,
    noise_std: Positive,
    *,
    draws: PositiveInt = 500,
    burn_in: NonNegativeInt = 100,
    mean: bool = False,
) -> Array:
    """Samples of ``p(x | y)`` by one Markov chain; ``vmap`` over keys for more chains, over observations for more y.

    Args:
      key: PRNG key.
      signals: the prior.
      matrix: A, ``(m, D)``; of any rank: the identity makes ``E[x | y]`` the exact denoiser.
      observation: y, ``(m,)``.
      noise_std: s, the standard deviation of its noise.
      draws: number of samples, one for each sweep.
      burn_in: number of sweeps before the first.
      mean: return ``E[x | v, y]`` of each sweep instead; the average estimates ``E[x | y]`` with a smaller error.

    Returns:
      ``(draws, D)``.

    Source: Park & Casella 2008 (https://doi.org/10.1198/016214508000000337) for Laplace; Bohra et al. 2023
    (https://doi.org/10.1109/TSP.2023.3236157) for signals of this kind.
    """
    h, y = jnp.asarray(matrix), jnp.asarray(observation)
    if y.ndim != 1 or not y.size:
        raise ValueError(f"observation must have shape (m,) with m >= 1, got {y.shape}")
    if h.shape != (y.size, signals.dim):
        raise ValueError(f"matrix must have shape ({y.size}, {signals.dim}), got {h.shape}")
    check_finite(matrix=h, observation=y)
    h = jnp.cumsum(h[:, ::-1], 1)[:, ::-1]  # A C
    size, noise = (signals.dim,), jnp.square(noise_std)

    def sweep(state, key):
        v, q = state
        for_support, for_increments, for_noise, for_variances = jax.random.split(key, 4)
        factor = jax.scipy.linalg.cho_factor(noise * jnp.eye(y.size) + (h * (v * q)) @ h.T)
        inverse = jax.scipy.linalg.cho_solve(factor, jnp.eye(y.size))
        if signals.law == "bernoulli_laplace":
            v, q, inverse = _draw_support(for_support, signals.probability, h, y, v, q, inverse)
        start = jnp.sqrt(v * q) * jax.random.normal(for_increments, size)
        gap = y - h @ start - noise_std * jax.random.normal(for_noise, y.shape)
        d = start + v * q * (h.T @ (inverse @ gap))
        kept = v * q * (h.T @ (inverse @ y)) if mean else d
        return (signals._variances(for_variances, size, d, q), q), jnp.cumsum(kept)

    for_start, for_q, for_sweeps = jax.random.split(key, 3)
    state = signals._variances(for_start, size), signals._support(for_q, size)
    return jax.lax.scan(sweep, state, jax.random.split(for_sweeps, burn_in + draws))[1][burn_in:]


def _draw_support(key, probability, h, y, v, q, inverse):
    """Gibbs draws of every indicator, and exchanges of neighbours, with the increments integrated out.

    ``inverse`` is ``(s^2 + H diag(v q) H')^-1``; a change of one entry of ``v q`` changes it by a rank of one.
    """
    dim, log_odds = h.shape[1], jnp.log(probability) - jnp.log1p(-probability)

    def changed(inverse, i, change):
        g = inverse @ h[:, i]
        pivot, pull = 1.0 + change * (h[:, i] @ g), g @ y
        log_ratio = -0.5 * jnp.log(pivot) + 0.5 * change * jnp.square(pull) / pivot
        return inverse - (change / pivot) * jnp.outer(g, g), log_ratio

    def flip(carry, inputs):
        q, inverse = carry
        i, uniform = inputs
        sign = jnp.where(q[i], -1.0, 1.0)
        other, log_ratio = changed(inverse, i, sign * v[i])
        move = uniform < jax.nn.sigmoid(log_ratio + sign * log_odds)
        return (q.at[i].set(q[i] ^ move), jnp.where(move, other, inverse)), None

    def exchange(carry, inputs):
        v, q, inverse = carry
        i, uniform = inputs
        difference = v[i] * q[i] - v[i + 1] * q[i + 1]
        first, one = changed(inverse, i, -difference)
        other, two = changed(first, i + 1, difference)
        move = jnp.log(uniform) < one + two
        pair, turned = jnp.array([i, i + 1]), jnp.array([i + 1, i])
        v, q = (jnp.where(move, leaf.at[pair].set(leaf[turned]), leaf) for leaf in (v, q))
        return (v, q, jnp.where(move, other, inverse)), None

    uniforms = jax.random.uniform(key, (2, dim))
    (q, inverse), _ = jax.lax.scan(flip, (q, inverse), (jnp.arange(dim), uniforms[0]))
    (v, q, inverse), _ = jax.lax.scan(exchange, (v, q, inverse), (jnp.arange(dim - 1), uniforms[1, 1:]))
    return v, q, inverse
