"""Autoregressive models of noisy data: explicit log-densities ``log p_t(x_t)`` at every noise level.

The density of clean sequences is ``Partial(log_prob, model)``. One that is trained on ``x_t = alpha x0 + sigma eps`` at
all noise levels is a diffusion model whose score is a gradient of an explicit density: all solvers, annealed Langevin
and guidance apply to it, all positions at once.

Source: Jayaram & Thickstun 2021 (https://arxiv.org/abs/2105.08164), with a model of each noise level in place of a
condition.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import Finite, checked
from scorekit.autoregressive._checks import check_sequences
from scorekit.autoregressive.likelihoods import log_prob
from scorekit.autoregressive.models import NetworkModel, SequenceModel
from scorekit.predictions import seen_log_snr
from scorekit.process import perturb
from scorekit.times import TimeSampler, Uniform, draw
from scorekit.trees import as_pytree
from scorekit.typing import Array, ArrayLike, Key, Number, Schedule


def _at_noise(model, schedule, scale, t):
    conditions = {**model.conditions, "noise": scale * seen_log_snr(schedule.log_snr(t))}
    return NetworkModel(
        network=model.network,
        conditional=model.conditional,
        params=model.params,
        conditions=conditions,
        dense_map=model.dense_map,
    )


@checked
def condition_on_noise(model: NetworkModel, schedule: Schedule, scale: Finite[Number] = 0.25) -> Callable:
    """The models of all noise levels, of one network that is called with ``noise = scale * log_snr(t)``.

    Args:
      model: a model of continuous values.
      schedule: the noise schedule.
      scale: factor of the log-SNR, which is clipped to +-20 nats.

    Returns:
      A function ``t -> model``, which may be passed through ``jit``.

    >>> from scorekit.autoregressive import Normal, model_from_network
    >>> from scorekit.networks import CausalWaveNet
    >>> from scorekit.schedules import RectifiedFlow
    >>> network = CausalWaveNet(outputs=2, channels=2, layers=1, cycle=1)
    >>> model = model_from_network(network, jax.jit(network.init)(jax.random.key(0), jnp.ones((2, 3, 1))), Normal())
    >>> condition_on_noise(model, RectifiedFlow())(0.5).conditions["noise"]
    Array(0., dtype=float32)
    """
    return Partial(_at_noise, model, schedule, scale)


def _smoothed(model_at, x_t, t):
    return log_prob(model_at(t), x_t)


@checked
def smoothed_log_density(model_at: Callable[[Array], SequenceModel]) -> Callable[[Array, Array], Array]:
    """The log-density of noisy sequences, ``log p_t(x_t) = sum_i log p_t(x_i | x_<i)``.

    :func:`scorekit.denoisers.denoiser_from_log_density` makes a denoiser of it, whose score is the gradient through the
    network; :func:`scorekit.guidance.classifier_free_log_density` guides the joint of each noise level.

    Args:
      model_at: ``t -> model``, such as :func:`condition_on_noise` returns; t a scalar, or ``(B,)`` where it can be.

    Returns:
      ``(x_t, t) -> log p_t(x_t)`` in nats ``(B,)``, which may be passed through ``jit``.

    >>> from scorekit.autoregressive import gaussian_sequence
    >>> from scorekit.densities import gaussian
    >>> g = gaussian(jnp.zeros(2), covariance=jnp.array([[1.0, 0.6], [0.6, 1.0]]))
    >>> log_density = smoothed_log_density(lambda t: gaussian_sequence(g.marginal(1 - t, t)))
    >>> print(f"{log_density(jnp.zeros((1, 2, 1)), 1.0)[0]:.4f}")  # -log(2 pi): at t = 1 there is noise alone
    -1.8379
    """
    return Partial(_smoothed, as_pytree(model_at))


@checked
def smoothed_loss(
    key: Key,
    model_at: Callable[[Array], SequenceModel],
    schedule: Schedule,
    x0: ArrayLike,
    *,
    times: TimeSampler | None = None,
) -> Array:
    """The negative log-likelihood of noisy sequences at random times, ``-log p_t(alpha x0 + sigma eps) / D``.

    Args:
      key: PRNG key.
      model_at: ``t -> model``, such as :func:`condition_on_noise` returns; t a scalar, or ``(B,)`` where it can be.
      schedule: the noise schedule.
      x0: clean sequences ``(B, L, C)``.
      times: sampler of t (:mod:`scorekit.times`); default ``Uniform()``.

    Returns:
      Losses ``(B,)`` in nats per value, weighted by the sampler.

    >>> from scorekit.autoregressive import gaussian_sequence
    >>> from scorekit.densities import gaussian
    >>> from scorekit.schedules import RectifiedFlow
    >>> model_at = lambda t: gaussian_sequence(gaussian(jnp.zeros(2), std=1.0))
    >>> smoothed_loss(jax.random.key(0), model_at, RectifiedFlow(), jnp.ones((4, 2, 1))).shape
    (4,)
    """
    for_times, for_noise = jax.random.split(key)
    if jnp.ndim(x0) != 3 or 0 in jnp.shape(x0):
        raise ValueError(f"x0 must have shape (B, L, C), got {jnp.shape(x0)}")
    drawn = draw(for_times, Uniform() if times is None else times, schedule, jnp.shape(x0)[0])
    model = model_at(drawn.t)
    x0 = check_sequences(model.conditional, x0, "x0")
    x_t = perturb(schedule, x0, jax.random.normal(for_noise, x0.shape, x0.dtype), drawn.t)
    return -drawn.weight * log_prob(model, x_t) / math.prod(x0.shape[1:])
