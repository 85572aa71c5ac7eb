"""Guidance of explicit models: log-densities are combined into a log-density of the *joint*, without noise levels.

A model with an explicit ``log p(x)`` (an autoregressive model of continuous data, a flow, an energy) is guided by
adding log-densities of complete examples and sampling the sum: directly with ``metropolis_langevin`` of
:mod:`scorekit.samplers`, or with ``langevin`` and ``sgld`` through
:func:`scorekit.denoisers.score_from_log_density`. No log-density has to be normalised. This tilts the distribution of
the data; guided diffusion tilts every noise level instead, and guided autoregressive sampling every conditional
(:mod:`scorekit.guidance.sequences`). The results are functions of the same arguments, which may be passed through
``jit``, and known up to a constant.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from scorekit.arguments import Finite, checked
from scorekit.checks import check
from scorekit.numerics import wide
from scorekit.trees import as_pytree
from scorekit.typing import Array, Number

_LogDensity: TypeAlias = Callable[..., Array]
"""``x -> log p(x)``, ``(B,)``, up to a constant; or a function of ``(x_t, t)`` or of any other arguments."""


def _weighted_sum(weights, log_densities, *arguments: Any):
    total = jnp.zeros(())
    for weight, log_density in zip(weights, log_densities, strict=True):
        weight, value = wide(weight), wide(log_density(*arguments))
        if value.shape and total.shape and value.shape != total.shape:
            raise ValueError(f"log_density must have one shape in all terms, got {total.shape} and {value.shape}")
        total = total + jnp.where(weight == 0, 0.0, weight) * jnp.where(weight == 0, 0.0, value)
    return total


def log_product(*terms: tuple[Number, _LogDensity]) -> _LogDensity:
    """A product of powers of densities: ``log p(x) = sum_i w_i log p_i(x) + constant``.

    With positive weights the product has a finite integral; with negative weights the caller has to ensure it. A weight
    of 0 leaves its term out, even where the term is infinite.

    Args:
      terms: pairs of a weight, of either sign, and a log-density; all log-densities take the same arguments and have
        the same shape.

    >>> normal = lambda mean: lambda x: -0.5 * jnp.sum((x - mean) ** 2, -1)
    >>> both = log_product((1.0, normal(0.0)), (1.0, normal(2.0)))  # N(1, 1/2), times exp(-1)
    >>> both(jnp.array([[1.0], [2.0]])).tolist()
    [-1.0, -2.0]

    Source: Hinton 2002 (https://doi.org/10.1162/089976602760128018).
    """
    if not terms:
        raise ValueError("terms must hold at least one pair of a weight and a log-density, got none")
    weights, log_densities = zip(*terms, strict=True)
    for weight in weights:
        check(np.isfinite, "finite", weight=weight)
    return Partial(_weighted_sum, weights, tuple(as_pytree(log_density) for log_density in log_densities))


@checked
def classifier_guided_log_density(
    log_density: _LogDensity, log_likelihood: _LogDensity, guidance_scale: Finite[Number]
) -> _LogDensity:
    """Classifier guidance of an explicit model: ``log p(x) + gamma log p(y | x)``.

    Args:
      log_density: ``log p(x)``.
      log_likelihood: ``log p(y | x)`` of the wanted y, from any differentiable model.
      guidance_scale: gamma, of any sign; 0 is unconditional, 1 plain conditional.

    >>> normal, label_1 = (lambda x: -0.5 * jnp.sum(x**2, -1)), (lambda x: -jnp.logaddexp(0.0, -x[..., 0]))
    >>> jnp.exp(classifier_guided_log_density(normal, label_1, 4.0)(jnp.zeros((1, 1))))  # 1 / 2^4
    Array([0.0625], dtype=float32)

    Source: Dhariwal & Nichol 2021 (https://arxiv.org/abs/2105.05233), on the joint.
    """
    return log_product((1.0, log_density), (guidance_scale, log_likelihood))


@checked
def classifier_free_log_density(cond: _LogDensity, uncond: _LogDensity, guidance_scale: Finite[Number]) -> _LogDensity:
    """Classifier-free guidance of an explicit model: ``(1 - gamma) log p(x) + gamma log p(x | y)``.

    By Bayes' rule this is :func:`classifier_guided_log_density` with the classifier that the two models imply. For
    gamma outside [0, 1] the integral is finite if ``p(x | y) / p(x)`` is bounded, which holds if ``p(x) = sum_y p(y)
    p(x | y)`` but has to be verified for two models that were fitted separately.

    Args:
      cond: ``x -> log p(x | y)`` of the wanted y, up to a constant, ``(B,)``.
      uncond: ``x -> log p(x)``, up to a constant, ``(B,)``.
      guidance_scale: gamma, of any sign; 0 is unconditional, 1 plain conditional.

    >>> normal = lambda mean: lambda x: -0.5 * jnp.sum((x - mean) ** 2, -1)
    >>> guided = classifier_free_log_density(normal(1.0), normal(0.0), 3.0)  # N(3, 1), times exp(3)
    >>> guided(jnp.array([[3.0], [4.0]])).tolist()
    [3.0, 2.5]

    Source: Ho & Salimans 2022 (https://arxiv.org/abs/2207.12598), on the joint.
    """
    return log_product((1.0 - wide(guidance_scale), uncond), (guidance_scale, cond))
