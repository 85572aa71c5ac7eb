"""Guidance of explicit models: log-densities to a log-density of the *joint*, without any noise level.

Whoever has ``log p(x)`` itself (an autoregressive model of continuous data, a flow, an energy) can add up log-densities
of whole examples, and sample the sum: it plugs into ``metropolis_langevin`` of :mod:`scorekit.solvers` as it is, into
``langevin`` and ``sgld`` by :func:`scorekit.denoisers.score_from_log_density`, and into whatever else takes a density.
Nothing here needs to be normalised. This tilts the data, as the equations say; guided diffusion tilts every noise level
instead, and guided autoregressive sampling every conditional (:mod:`scorekit.guidance.sequences`).
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.schedules.numerics import as_time
from scorekit.trees import as_pytree
from scorekit.typing import Array, Number

LogDensity: TypeAlias = Callable[..., Array]
"""``x -> log p(x)``, ``(B,)``, up to a constant; or of ``(x_t, t)``, or of whatever else the model takes."""


def _weighted_sum(weights, log_densities, *arguments: Any):
    total = 0.0
    for weight, log_density in zip(weights, log_densities, strict=True):
        weight, value = as_time(weight), as_time(log_density(*arguments))
        total = total + jnp.where(weight == 0, 0.0, weight) * jnp.where(weight == 0, 0.0, value)
    return total


def log_product(*terms: tuple[Number, LogDensity]) -> LogDensity:
    """A product of powers of densities: ``log p(x) = sum_i w_i log p_i(x) + constant``.

    The product has a finite integral if the weights are positive; with negative ones that is for you to see to. A
    weight of 0 leaves its term out, also where that is infinite.

    Args:
      terms: pairs of a weight, of either sign, and a log-density; all take the same arguments.

    Returns:
      The log-density of the product, not normalised, which may be passed through ``jit``.

    Raises:
      ValueError: without any terms.

    >>> normal = lambda mean: lambda x: -0.5 * jnp.sum((x - mean) ** 2, -1)
    >>> both = log_product((1.0, normal(0.0)), (1.0, normal(2.0)))  # N(1, 1/2), times exp(-1)
    >>> both(jnp.array([[1.0], [2.0]])).tolist()
    [-1.0, -2.0]

    Source: Hinton 2002, eq. 1 (https://doi.org/10.1162/089976602760128018).
    """
    if not terms:
        raise ValueError("terms must hold at least one pair of a weight and a log-density, got none")
    weights, log_densities = zip(*terms, strict=True)
    return Partial(_weighted_sum, weights, tuple(as_pytree(log_density) for log_density in log_densities))


def classifier_guided_log_density(
    log_density: LogDensity, log_likelihood: LogDensity, guidance_scale: Number
) -> LogDensity:
    """Classifier guidance of an explicit model: ``log p(x) + gamma log p(y | x)``.

    Args:
      log_density: ``log p(x)``.
      log_likelihood: ``log p(y | x)`` of the y that is wanted, from any differentiable model.
      guidance_scale: gamma.

    >>> prior = lambda x: -0.5 * jnp.sum(x**2, -1)
    >>> label_1 = lambda x: -jnp.logaddexp(0.0, -x[..., 0])  # a logistic classifier
    >>> guided = classifier_guided_log_density(prior, label_1, 4.0)
    >>> jnp.exp(guided(jnp.array([[0.0]])))  # 1 / 2^4
    Array([0.0625], dtype=float32)

    Source: Dhariwal & Nichol 2021, sec. 4 (https://arxiv.org/abs/2105.05233), on the joint.
    """
    return log_product((1.0, log_density), (guidance_scale, log_likelihood))


def classifier_free_log_density(cond: LogDensity, uncond: LogDensity, guidance_scale: Number) -> LogDensity:
    """Classifier-free guidance of an explicit model: ``(1 - gamma) log p(x) + gamma log p(x | y)``.

    By Bayes' rule this is :func:`classifier_guided_log_density` with the classifier that the two models are. For gamma
    outside [0, 1] the integral is finite if ``p(x | y) / p(x)`` is bounded, as it is where
    ``p(x) = sum_y p(y) p(x | y)``; of two models that were fitted apart that must be seen to.

    Args:
      cond: ``log p(x | y)``.
      uncond: ``log p(x)``.
      guidance_scale: gamma.

    >>> normal = lambda mean: lambda x: -0.5 * jnp.sum((x - mean) ** 2, -1)
    >>> guided = classifier_free_log_density(normal(1.0), normal(0.0), 3.0)  # N(3, 1), times exp(3)
    >>> guided(jnp.array([[3.0], [4.0]])).tolist()
    [3.0, 2.5]

    Source: Ho & Salimans 2022, sec. 3.2 (https://arxiv.org/abs/2207.12598), on the joint.
    """
    return log_product((1.0 - as_time(guidance_scale), uncond), (guidance_scale, cond))
