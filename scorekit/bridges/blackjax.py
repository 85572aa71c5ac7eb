"""Densities as the log-density of one position, for the samplers of BlackJAX: NUTS, MCLMC, SMC.

BlackJAX differentiates a function of one position and maps over chains with ``jax.vmap``. With a
:class:`~scorekit.likelihood.ModelDensity` the gradient is the score. The extra ``scorekit[blackjax]`` brings the
package, which this module itself does not need.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.trees import as_pytree
from scorekit.typing import Array, PyTree

__all__ = ["log_density"]


def log_density(priors: PyTree, log_likelihood: Callable[[PyTree], Array] | None = None) -> Callable[[PyTree], Array]:
    """``log p(position) + log_likelihood(position)`` up to a constant, a function of one position.

    Args:
      priors: a density of :mod:`scorekit.likelihood` or :mod:`scorekit.densities`, or a tree of independent ones.
      log_likelihood: ``position -> log p(y | position)``, a scalar; without it the prior is sampled.

    Returns:
      ``position -> log-density``, a scalar in nats. The position is one point of the prior, or a tree of points like
      ``priors``. The function is a pytree: it crosses ``jit`` as an argument.

    >>> from scorekit import densities, denoisers, likelihood, schedules
    >>> schedule = schedules.Cosine()
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), std=1.0), schedule)
    >>> prior = likelihood.flow_density(denoiser, schedule, (2,))
    >>> target = log_density(prior, lambda x: -2.0 * jnp.sum((x - 1.0) ** 2))
    >>> jax.grad(target)(jnp.ones(2)).round(2)  # blackjax.nuts(target, step_size=0.4, inverse_mass_matrix=jnp.ones(2))
    Array([-1., -1.], dtype=float32)

    Source: Cabezas et al. 2024 (https://arxiv.org/abs/2402.10797).
    """
    for prior in jax.tree.leaves(priors, is_leaf=_is_density) or [priors]:
        if not _is_density(prior):
            raise ValueError(f"priors must be a density with log_density(x), or a tree of them, got {priors!r}")
    return Partial(_log_density, priors, None if log_likelihood is None else as_pytree(log_likelihood))


def _is_density(prior) -> bool:
    return callable(getattr(prior, "log_density", None)) and not isinstance(prior, type)


def _log_density(priors, log_likelihood, position):
    structure = jax.tree.structure(priors, is_leaf=_is_density)
    if jax.tree.structure(position) != structure:
        raise ValueError(f"position must be a tree like priors, {structure}, got {jax.tree.structure(position)}")
    terms = jax.tree.map(lambda prior, x: prior.log_density(x), priors, position, is_leaf=_is_density)
    values = jax.tree.leaves(terms)
    if any(map(jnp.ndim, values)):
        shapes = jax.tree.map(jnp.shape, position)
        raise ValueError(f"position must be one point of priors, got {shapes}; map over chains with jax.vmap")
    if log_likelihood is not None:
        values.append(log_likelihood(position))
        if jnp.ndim(values[-1]):
            raise ValueError(f"log_likelihood must be a scalar, got shape {jnp.shape(values[-1])}")
    return sum(values[1:], values[0])
