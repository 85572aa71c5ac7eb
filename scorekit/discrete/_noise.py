"""The two kinds of noise as arithmetic with probabilities, from which steps of solvers and the bounds are made.

``log_p`` are the log-probabilities of the clean token, ``p(x | z_t)``, ``(B, ..., V)``. What is exact is linear in
``p``: ``p(z_s | z_t) = sum_x p(x | z_t) q(z_s | z_t, x)``. The scalars of a row are ``()`` or ``(B,)``.
"""

import dataclasses

import jax
import jax.numpy as jnp

from scorekit.trees import expand, pytree_dataclass, static
from scorekit.typing import Array, Key


def log(p: Array) -> Array:
    """``log p``, -inf at 0 where the gradient is 0 instead of NaN; NaN stays NaN."""
    positive = ~(p <= 0)
    return jnp.where(positive, jnp.log(jnp.where(positive, p, 1.0)), -jnp.inf)


def _one_hot(z, size, dtype):
    return jax.nn.one_hot(z, size, dtype=dtype)


def _chosen(values, index):
    """``values[..., index]`` for each token."""
    return jnp.take_along_axis(values, index[..., None], axis=-1, mode="clip")[..., 0]


def _draw_uniform(key, z, probability, new):
    """``new`` where a coin of this probability, per example, falls for the token, else ``z``."""
    renewed = jax.random.uniform(key, z.shape) < expand(probability, z)
    return jnp.where(renewed, jnp.asarray(new, z.dtype), z)


@dataclasses.dataclass(frozen=True)
class Absorbing:
    """``pi`` is the mask, the state V."""

    num_tokens: int

    @property
    def num_states(self) -> int:
        return self.num_tokens + 1

    @property
    def mask(self) -> int | None:
        return self.num_tokens

    def renew(self, key: Key, z: Array, probability: Array) -> Array:
        """Every token becomes the mask with this probability."""
        return _draw_uniform(key, z, probability, self.num_tokens)

    def log_likelihood(self, z: Array, alpha: Array, sigma: Array) -> Array:
        """``log q(z_t | x)`` for every x, ``(..., V)``."""
        kept = _one_hot(z, self.num_tokens, alpha.dtype) * expand(alpha, z)[..., None]
        masked = (z == self.num_tokens)[..., None]
        return jnp.where(masked, log(expand(sigma, z)[..., None]), log(kept))

    def reverse(self, log_p: Array, z: Array, row: "Row") -> Array:
        """``p(z_s | z_t)``, ``(..., V + 1)``: a mask is revealed with probability ``1 - sigma_s / sigma_t``."""
        masked = expand(row.sigma_s / row.sigma_t, z)[..., None]
        return self._revealed(log_p, z, 1.0 - masked, masked)

    def _revealed(self, log_p, z, revealed, masked):
        """The states of a mask: a token with probability ``revealed``, the mask with ``masked``; others stay."""
        p = revealed * jnp.exp(log_p)
        changed = jnp.concatenate([p, jnp.broadcast_to(masked, (*p.shape[:-1], 1))], axis=-1)
        return jnp.where((z == self.num_tokens)[..., None], changed, _one_hot(z, self.num_states, p.dtype))

    def rates(self, log_p: Array, z: Array, row: "Row") -> tuple[Array, Array]:
        """``(scale, log rates)``: the rate of change to each state is ``scale exp(log rates)``.

        ``(sigma' / sigma) p(x | z_t)`` from the mask to x; the other tokens never change.
        """
        never = jnp.full((*log_p.shape[:-1], 1), -jnp.inf, log_p.dtype)
        is_mask = (z == self.num_tokens)[..., None]
        return row.sigma_rate / row.sigma_t, jnp.where(is_mask, jnp.concatenate([log_p, never], axis=-1), -jnp.inf)

    def remask(self, log_p: Array, z: Array, row: "Row", share: Array, most: Array) -> Array:
        """The step that masks again with probability ``min(share sigma_s / alpha_t, most)``, ``(..., V + 1)``."""
        largest = jnp.minimum(1.0, row.sigma_s / jnp.where(row.alpha_t > 0, row.alpha_t, 1.0))
        again = jnp.minimum(share * largest, most)
        revealed = (row.alpha_s - (1.0 - again) * row.alpha_t) / row.sigma_t
        revealed, again = (expand(x, z)[..., None] for x in (revealed, again))
        mask = _one_hot(self.num_tokens, self.num_states, log_p.dtype)
        forget = lambda p: (1.0 - again) * p + again * mask
        is_mask = (z == self.num_tokens)[..., None]
        p = self._revealed(log_p, z, revealed, 1.0 - revealed)
        return jnp.where(is_mask, p, forget(p))

    def loss(self, log_p: Array, x0: Array, z: Array, row: "Row") -> Array:
        """``(sigma' / sigma) [z = mask] -log p(x0 | z)`` of each token, the derivative of the bound in t."""
        weight = _ratio(row.sigma_rate, row.sigma_t)
        return expand(weight, z) * self._surprise(log_p, x0, z)

    def divergence(self, log_p: Array, x0: Array, z: Array, row: "Row") -> Array:
        """``KL(q(z_s | z_t, x0) || p(z_s | z_t))`` of each token."""
        return expand(1.0 - row.sigma_s / row.sigma_t, z) * self._surprise(log_p, x0, z)

    def _surprise(self, log_p, x0, z):
        masked = z == self.num_tokens
        return jnp.where(masked, -_chosen(jnp.where(masked[..., None], log_p, 0.0), x0), 0.0)

    def prior_divergence(self, alpha: Array) -> Array:
        """``KL(q(z_1 | x0) || prior)`` of a token, where the prior keeps a token too, but a uniform one."""
        return alpha * jnp.log(float(self.num_tokens))


@dataclasses.dataclass(frozen=True)
class Uniform:
    """``pi`` is uniform over the V tokens."""

    num_tokens: int

    @property
    def num_states(self) -> int:
        return self.num_tokens

    @property
    def mask(self) -> int | None:
        return None

    def renew(self, key: Key, z: Array, probability: Array) -> Array:
        """Every token is drawn anew with this probability."""
        for_coin, for_token = jax.random.split(key)
        return _draw_uniform(for_coin, z, probability, jax.random.randint(for_token, z.shape, 0, self.num_tokens))

    def log_likelihood(self, z: Array, alpha: Array, sigma: Array) -> Array:
        """``log q(z_t | x)`` for every x, ``(..., V)``."""
        alpha, sigma = (expand(value, z)[..., None] for value in (alpha, sigma))
        return log(alpha * _one_hot(z, self.num_tokens, alpha.dtype) + sigma / self.num_tokens)

    def _ratios(self, log_p, z, row):
        """``p(x | z) / q(z | x)``: the weights of which every reverse probability is a linear function."""
        likelihood = self.log_likelihood(z, row.alpha_t, row.sigma_t)
        possible = jnp.isfinite(likelihood)
        return jnp.where(possible, jnp.exp(log_p - jnp.where(possible, likelihood, 0.0)), 0.0)

    def _marginal(self, ratios, alpha, sigma, z):
        """``sum_x ratios(x) q(y | x)`` for every y at the noise level of alpha and sigma."""
        alpha, sigma = (expand(value, z)[..., None] for value in (alpha, sigma))
        return alpha * ratios + sigma / self.num_tokens * jnp.sum(ratios, axis=-1, keepdims=True)

    def reverse(self, log_p: Array, z: Array, row: "Row") -> Array:
        """``p(z_s | z_t) = q(z_t | z_s) sum_x p(x | z_t) q(z_s | x) / q(z_t | x)``, ``(..., V)``."""
        keep = expand(row.alpha_t / row.alpha_s, z)[..., None]
        change = expand((row.sigma_t - row.sigma_s) / row.alpha_s, z)[..., None]
        forwards = keep * _one_hot(z, self.num_tokens, log_p.dtype) + change / self.num_tokens
        return forwards * self._marginal(self._ratios(log_p, z, row), row.alpha_s, row.sigma_s, z)

    def log_scores(self, log_p: Array, z: Array, row: "Row") -> Array:
        """``log p_t(z with y in this place) / p_t(z)`` for every y: the concrete score, 0 at ``y = z``."""
        return log(self._marginal(self._ratios(log_p, z, row), row.alpha_t, row.sigma_t, z))

    def rates(self, log_p: Array, z: Array, row: "Row") -> tuple[Array, Array]:
        """``(scale, log rates)``: ``(sigma' / (alpha V)) p_t(z with y) / p_t(z)`` is the rate of change to y."""
        itself = _one_hot(z, self.num_tokens, log_p.dtype) > 0
        log_rates = jnp.where(itself, -jnp.inf, self.log_scores(log_p, z, row))
        gone = row.alpha_t <= 0  # where rounding may leave 0 / 0 or a wrong sign
        scale = jnp.where(gone, jnp.inf, row.sigma_rate / (self.num_tokens * jnp.where(gone, 1.0, row.alpha_t)))
        return scale, log_rates

    def loss(self, log_p: Array, x0: Array, z: Array, row: "Row") -> Array:
        """``(sigma' / (alpha V)) sum_y (s - r + r log(r / s))`` of each token, the derivative of the bound in t.

        s is the score of ``p`` and ``r = q(y | x0) / q(z | x0)`` of the data; the sum is over the tokens but z.
        """
        known = log(_one_hot(x0, self.num_tokens, log_p.dtype))
        log_r, log_s = self.log_scores(known, z, row), self.log_scores(log_p, z, row)
        counts = (_one_hot(z, self.num_tokens, log_p.dtype) == 0) & jnp.isfinite(log_r)
        apart = jnp.where(counts, log_s, 0.0) - jnp.where(counts, log_r, 0.0)
        entropy = jnp.where(counts, jnp.exp(log_r), 0.0) * (jnp.expm1(apart) - apart)  # r (s / r - 1 - log(s / r))
        weight = expand(_ratio(row.sigma_rate, row.alpha_t) / self.num_tokens, z)
        total = jnp.sum(entropy, axis=-1)
        none = (total == 0) & (weight == jnp.inf)  # no noise, of a schedule that is infinitely steep there
        return jnp.where(none, 0.0, jnp.where(none, 1.0, weight) * total)

    def divergence(self, log_p: Array, x0: Array, z: Array, row: "Row") -> Array:
        """``KL(q(z_s | z_t, x0) || p(z_s | z_t))`` of each token."""
        q = self.reverse(log(_one_hot(x0, self.num_tokens, log_p.dtype)), z, row)
        p = self.reverse(log_p, z, row)
        return jnp.sum(jnp.where(q > 0, q * (log(q) - jnp.where(q > 0, log(p), 0.0)), 0.0), axis=-1)

    def prior_divergence(self, alpha: Array) -> Array:
        """``KL(q(z_1 | x0) || uniform)`` of a token."""
        v = self.num_tokens
        same, other = alpha + (1.0 - alpha) / v, (1.0 - alpha) / v
        return same * jnp.log(v * same) + (v - 1) * other * jnp.log(v * other)


def _ratio(a, b):
    """``a / b``, and 0 where b is 0: at the ends of time the terms that it multiplies vanish; NaN stays NaN."""
    return jnp.where(b <= 0, 0.0, a / jnp.where(b <= 0, 1.0, b))


@pytree_dataclass
class Row:
    """A step from t to s: times, the schedule at both, ``d sigma / dt`` at t, and the kind of noise.

    Attributes:
      noise: the kind of noise; static.
      t, s: the times.
      alpha_t, sigma_t, alpha_s, sigma_s: the schedule there.
      sigma_rate: ``d sigma / dt`` at t.

    >>> from scorekit.discrete import absorbing
    >>> float(absorbing(3).row(jnp.array([0.25, 0.5])).sigma_s)
    0.25
    """

    noise: Absorbing | Uniform = static()
    t: Array
    s: Array
    alpha_t: Array
    sigma_t: Array
    alpha_s: Array
    sigma_s: Array
    sigma_rate: Array
