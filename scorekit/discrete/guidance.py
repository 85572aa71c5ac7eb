"""Guidance of tokens: of the predicted probabilities, of the rates, or of the joint.

=======================  ===================================================  =======================================
rule                     what is raised to the power gamma                    normalised
=======================  ===================================================  =======================================
``classifier_free``      ``p(x_i | z_t, y)^gamma p(x_i | z_t)^(1 - gamma)``  for every token of every step
``rate_guidance``        the rates, ``R_y^gamma R^(1 - gamma)``               not at all: likely tokens change first
``classifier_guidance``  ``p(y | z with x_i) / p(y | z)``, times either       as either, by the solver
=======================  ===================================================  =======================================

For gamma 0 and 1 all give the unconditional and the conditional distribution, as far as their parts are exact. For
other scales none gives ``p(x)^(1 - gamma) p(x | y)^gamma``, except for independent tokens: the factor of the tokens to
come is missing. The joint of short sequences is enumerated by :mod:`scorekit.guidance.sequences`, and
``exact_denoiser(guide_joint(...).log_prob, process)`` samples it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import checked
from scorekit.checks import check_like
from scorekit.discrete._checks import normalised, predict
from scorekit.discrete._noise import Row
from scorekit.discrete.denoisers import TokenDenoiser
from scorekit.numerics import log_ratio, tilt
from scorekit.numerics.scales import Scale, value_at
from scorekit.trees import as_pytree, expand, pytree_dataclass
from scorekit.typing import Array


def _value(scale, z_t, t, log_p):
    return expand(value_at(scale, z_t, t), z_t)[..., None].astype(log_p.dtype)


def _classifier_free(cond, uncond, guidance_scale, z_t, t):
    log_u, log_c = normalised(uncond(z_t, t), "uncond"), normalised(cond(z_t, t), "cond")
    check_like("uncond(z_t, t)", log_u, **{"cond(z_t, t)": log_c})
    tilted = tilt(log_u, log_ratio(log_c, log_u), _value(guidance_scale, z_t, t, log_u))
    return jax.nn.log_softmax(tilted)


@checked
def classifier_free(cond: TokenDenoiser, uncond: TokenDenoiser, guidance_scale: Scale) -> TokenDenoiser:
    """Discrete classifier-free guidance, ``p(x_i | z_t, y)^gamma p(x_i | z_t)^(1 - gamma)``, normalised for each token.

    For masks revealed one at a time it samples the mean, over all orders, of the autoregressive guidance that
    :func:`scorekit.guidance.sequences.guide_sequentially` counts out.

    Args:
      cond, uncond: the two denoisers; a token that is impossible for ``uncond`` stays impossible.
      guidance_scale: gamma, a scalar, one per example ``(B,)``, or a function of t.

    >>> cond, uncond = (lambda z, t, p=p: jnp.log(jnp.full((*z.shape, 2), jnp.array([1 - p, p]))) for p in (0.75, 0.5))
    >>> [f"{p:.2f}" for p in jnp.exp(classifier_free(cond, uncond, 2.0)(jnp.array([[2]]), 0.5)).ravel()]  # 1 to 9
    ['0.10', '0.90']

    Source: Schiff et al. 2024 (https://arxiv.org/abs/2412.10193).
    """
    return Partial(_classifier_free, as_pytree(cond), as_pytree(uncond), _scale(guidance_scale))


def _scale(scale):
    return as_pytree(scale) if callable(scale) else scale


@pytree_dataclass
class RateDenoiser:
    """A denoiser that also gives the rates of the reverse process, for :class:`scorekit.discrete.TauLeaping`.

    ``R(z -> y) = scale exp(log_rates(y))``; called, it is an ordinary denoiser for the other solvers.

    Attributes:
      denoiser: ``(z_t, t) -> log p``.
      rates: ``(z_t, row) -> (scale, log_rates)``, the latter ``(B, ..., S)``.

    >>> still = lambda z, row: (row.sigma_rate, jnp.full((*z.shape, 3), -jnp.inf))
    >>> guided = RateDenoiser(denoiser=lambda z, t: jnp.zeros((*z.shape, 2)), rates=still)
    >>> guided(jnp.array([[2]]), 0.5).shape, guided.log_probs(jnp.array([[2]]), 0.5).shape
    ((1, 1, 2), (1, 1, 2))
    >>> from scorekit.discrete import absorbing
    >>> guided.log_rates(jnp.array([[2]]), absorbing(2).row(jnp.array([0.2, 0.4])))[0]
    Array(1., dtype=float32)
    """

    denoiser: TokenDenoiser
    rates: Callable[[Array, Row], tuple[Array, Array]]

    def __call__(self, z_t: Array, t: Array) -> Array:
        return self.denoiser(z_t, t)

    def log_probs(self, z_t: Array, t: Array) -> Array:
        """``log p``, ``(B, ..., V)``, which the last step uses.

        Args:
          z_t: the tokens.
          t: the time.
        """
        return self.denoiser(z_t, t)

    def log_rates(self, z_t: Array, row: Row) -> tuple[Array, Array]:
        """The rates of change to every state at the start of a step.

        Args:
          z_t: the tokens.
          row: the row of the step.

        Returns:
          ``(scale, log_rates)``: a scalar or ``(B,)``, and ``(B, ..., S)``.
        """
        return self.rates(z_t, row)


def _guided_rates(cond, uncond, guidance_scale, z_t, row):
    scale, log_u = row.noise.rates(predict(uncond, z_t, row.t, row.noise.num_tokens), z_t, row)
    _, log_c = row.noise.rates(predict(cond, z_t, row.t, row.noise.num_tokens), z_t, row)
    return scale, tilt(log_u, log_ratio(log_c, log_u), _value(guidance_scale, z_t, row.t, log_u))


@checked
def rate_guidance(cond: TokenDenoiser, uncond: TokenDenoiser, guidance_scale: Scale) -> RateDenoiser:
    """Guidance of the rates of the reverse process, ``R(z -> y)^(1 - gamma) R(z -> y | condition)^gamma``.

    The total rate is guided too: a token that both predictions are certain about changes before a token that they are
    uncertain about. With another solver than ``TauLeaping`` it is :func:`classifier_free`.

    Args:
      cond, uncond: the two denoisers; a token that is impossible for ``uncond`` stays impossible.
      guidance_scale: gamma, a scalar, one per example ``(B,)``, or a function of t.

    >>> from scorekit.discrete import absorbing
    >>> cond, uncond = (lambda z, t, p=p: jnp.log(jnp.full((*z.shape, 2), jnp.array([1 - p, p]))) for p in (0.75, 0.5))
    >>> row = absorbing(2).row(jnp.array([0.4, 0.5]))
    >>> scale, log_rates = rate_guidance(cond, uncond, 2.0).log_rates(jnp.array([[2]]), row)
    >>> (scale * jnp.exp(log_rates)).round(3).tolist()  # 2 (0.125, 1.125): the sum is 2.5 instead of 2
    [[[0.25, 2.25, 0.0]]]

    Source: Nisonoff et al. 2024 (https://arxiv.org/abs/2406.01572).
    """
    denoiser = classifier_free(cond, uncond, guidance_scale)
    rates = Partial(_guided_rates, as_pytree(cond), as_pytree(uncond), _scale(guidance_scale))
    return RateDenoiser(denoiser=denoiser, rates=rates)


def _log_ratios(log_likelihood, num_tokens, z_t, t):
    """``log p(y | z with x at i) - log p(y | z)`` for every place and token, ``(B, ..., V)``."""
    b, shape = z_t.shape[0], z_t.shape
    flat = z_t.reshape(b, -1)

    def at(place):
        change = lambda token: log_likelihood(flat.at[:, place].set(token.astype(z_t.dtype)).reshape(shape), t)
        return jax.vmap(change)(jnp.arange(num_tokens))

    changed = jax.lax.map(at, jnp.arange(flat.shape[1]))
    if changed.shape != (flat.shape[1], num_tokens, b):
        raise ValueError(f"log_likelihood must return one value for each example, ({b},), got {changed.shape[2:]}")
    ratios = jnp.moveaxis(changed, 2, 0) - log_likelihood(z_t, t)[:, None, None]
    return ratios.reshape(*shape, num_tokens)


def _with_classifier(denoiser, log_likelihood, guidance_scale, z_t, t):
    log_p = normalised(denoiser(z_t, t), "denoiser")
    ratios = _log_ratios(log_likelihood, log_p.shape[-1], z_t, t)
    return jax.nn.log_softmax(tilt(log_p, ratios, _value(guidance_scale, z_t, t, log_p)))


def _classified_rates(denoiser, log_likelihood, guidance_scale, z_t, row):
    v = row.noise.num_tokens
    scale, log_rates = row.noise.rates(predict(denoiser, z_t, row.t, v), z_t, row)
    ratios = _log_ratios(log_likelihood, v, z_t, row.t)
    ratios = jnp.concatenate([ratios, jnp.zeros_like(ratios[..., : row.noise.num_states - v])], axis=-1)
    return scale, tilt(log_rates, ratios, _value(guidance_scale, z_t, row.t, log_rates))


@checked
def classifier_guidance(
    denoiser: TokenDenoiser,
    log_likelihood: Callable[[Array, Array], Array],
    guidance_scale: Scale,
) -> RateDenoiser:
    """Guidance by a classifier of noisy tokens, ``p(x_i | z_t) (p(y | z_t with x_i) / p(y | z_t))^gamma``.

    Every place and every token is tried: ``L V`` evaluations of the classifier, V at a time. With masks and the exact
    classifier, gamma = 1 gives the exact conditional denoiser and rates. With uniform noise the rates are exact (use
    ``TauLeaping``), while the probabilities are an approximation, since the classifier sees a noisy token, not x0.

    Args:
      denoiser: the unconditional denoiser.
      log_likelihood: ``(z_t, t) -> log p(y | z_t)``, ``(B,)``, for the label y of each example.
      guidance_scale: gamma, a scalar, one per example ``(B,)``, or a function of t.

    >>> uniform = lambda z, t: jnp.full((*z.shape, 2), jnp.log(0.5))
    >>> likes_ones = lambda z, t: jnp.log(jnp.where(z == 1, 0.75, 0.25)).sum(1)
    >>> jnp.exp(classifier_guidance(uniform, likes_ones, 1.0)(jnp.array([[2]]), 0.5)).tolist()
    [[[0.25, 0.75]]]

    Source: Schiff et al. 2024 (https://arxiv.org/abs/2412.10193); Nisonoff et al. 2024
    (https://arxiv.org/abs/2406.01572).
    """
    parts = as_pytree(denoiser), as_pytree(log_likelihood), _scale(guidance_scale)
    return RateDenoiser(denoiser=Partial(_with_classifier, *parts), rates=Partial(_classified_rates, *parts))
