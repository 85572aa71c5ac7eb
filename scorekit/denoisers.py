"""Adapters: from a network, a score, a log-density or an exact distribution to a denoiser.

A denoiser is ``(x_t, t) -> Prediction(x0, eps)``. The denoisers of this module are ``jax.tree_util.Partial`` of
module-level functions: they may be arguments of a jitted function, and new parameters inside them do not retrace. They
raise a ``ValueError`` when they are called or traced with a state that is not floating, a ``t`` that is neither a
scalar nor ``(B,)``, or a network whose output is not shaped like the state: nothing is broadcast. A concrete time
outside [0, 1] is an error as well. Denoisers of networks and scores also take a ``t`` of shape ``(B, T)``, one level
for each frame of a state ``(B, T, ...)`` (:mod:`scorekit.forcing`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import Finite, Positive, checked
from scorekit.checks import check_floating, check_levels, check_state, check_time
from scorekit.densities import Gaussian, GaussianMirage, Mixture, Tilted
from scorekit.densities.random_fields import RandomField
from scorekit.numerics.networks import output_like
from scorekit.predictions import Score, Target, TargetName, as_target, seen_log_snr
from scorekit.trees import as_pytree, combine
from scorekit.typing import Array, Denoiser, Network, Number, PyTree, Schedule

__all__ = [
    "condition_on_log_snr",
    "denoiser_from_log_density",
    "denoiser_from_network",
    "denoiser_from_score",
    "exact_denoiser",
    "scale_input",
    "score_from_log_density",
]


def _evaluate(name, function, x_t, t):
    """``function(x_t, t)``, shaped like the state, in its precision: network and state may have different dtypes."""
    check_floating(x_t=x_t)
    check_time(t=t)
    check_levels(x_t, t=t)
    return output_like(name, function, x_t, t)


def _from_network(network, schedule, target, x_t, t):
    return target.to_prediction(_evaluate("output", network, x_t, t), x_t, t, schedule)


@checked
def denoiser_from_network(network: Network, schedule: Schedule, target: TargetName | Target = "v") -> Denoiser:
    """A denoiser from a network whose output is ``target``.

    Args:
      network: ``(x_t, t) -> output``, shaped like ``x_t``; ``jax.tree_util.Partial(apply, params)`` binds parameters so
        that new ones do not retrace.
      schedule: the noise schedule of ``t``; it may differ from the training schedule if the network is conditioned on
        the log-SNR.
      target: the target of the network: "x0", "eps", "score", "v", "velocity" or a
        :class:`~scorekit.predictions.Target`.

    >>> from scorekit.schedules import Cosine
    >>> denoiser = denoiser_from_network(lambda x, t: 0.0 * x, Cosine(), target="v")
    >>> denoiser(jnp.ones((1, 1)), 0.5)  # x0 = alpha x_t, eps = sigma x_t
    Prediction(x0=Array([[0.7071068]], dtype=float32), eps=Array([[0.7071068]], dtype=float32))
    """
    return Partial(_from_network, as_pytree(network), schedule, as_target(target))


def _from_score(score, schedule, x_t, t):
    return Score().to_prediction(_evaluate("score", score, x_t, t), x_t, t, schedule)


@checked
def denoiser_from_score(score: Network, schedule: Schedule) -> Denoiser:
    """A denoiser from a score function: ``eps = -sigma score``, ``x0 = (x_t + sigma^2 score) / alpha`` (Tweedie).

    Args:
      score: ``(x_t, t) -> grad_x log p_t(x_t)``.
      schedule: gives ``alpha`` and ``sigma`` of ``x_t`` at ``t``.

    >>> from scorekit.schedules import Cosine
    >>> denoiser_from_score(lambda x, t: -x, Cosine())(jnp.ones((1, 1)), 0.5).eps.round(4)
    Array([[0.7071]], dtype=float32)

    Source: Efron 2011 (Tweedie's formula).
    """
    return Partial(_from_score, as_pytree(score), schedule)


def _score_of(log_density, x, *t):
    check_floating(x=x)
    return jax.grad(lambda x: jnp.sum(log_density(x, *t)))(x)


@checked
def score_from_log_density(log_density: Callable[..., Array]) -> Callable[..., PyTree]:
    """The score ``grad_x log p`` of any differentiable log-density, by automatic differentiation.

    Args:
      log_density: ``x -> log p(x)``, for the chains of :mod:`scorekit.samplers`, or ``(x_t, t) -> log p_t(x_t)``, up to
        a constant; ``(B,)`` or a scalar. No term may mix examples.

    Returns:
      A function of the same arguments, which may be passed through ``jit``.

    >>> score_from_log_density(lambda x: -0.5 * jnp.sum(x**2, -1))(jnp.array([[3.0, -1.0]])).tolist()
    [[-3.0, 1.0]]
    """
    return Partial(_score_of, as_pytree(log_density))


@checked
def denoiser_from_log_density(log_density: Callable[[PyTree, Array], Array], schedule: Schedule) -> Denoiser:
    """A denoiser from any differentiable log-density of the noisy data, normalised or not (an energy).

    ``eps = -sigma grad_x log p_t(x_t)`` and ``x0 = (x_t - sigma eps) / alpha``.

    Args:
      log_density: ``(x_t, t) -> log p_t(x_t)``, ``(B,)`` or a scalar; no term may mix examples.
      schedule: gives ``alpha`` and ``sigma`` of ``x_t`` at ``t``.

    >>> from scorekit.schedules import Cosine
    >>> normal = lambda x, t: -0.5 * jnp.sum(x**2, -1)
    >>> denoiser_from_log_density(normal, Cosine())(jnp.ones((1, 1)), 0.5).x0.round(4)
    Array([[0.7071]], dtype=float32)
    """
    return denoiser_from_score(score_from_log_density(log_density), schedule)


def _exact(density, schedule, x_t, t):
    check_state(x_t, t=t)
    event = density.shape if isinstance(density, RandomField) else (density.dim,)
    if jnp.shape(x_t)[-len(event) :] != event:
        raise ValueError(f"x_t must end in the shape {event} of one example, got shape {jnp.shape(x_t)}")
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    if jnp.ndim(alpha) == 0:
        prediction = density.predict(x_t, alpha, sigma)
    else:
        prediction = jax.vmap(density.predict)(x_t, alpha, sigma)
    return jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(x_t)), prediction)


@checked
def exact_denoiser(density: Gaussian | Mixture | GaussianMirage | Tilted | RandomField, schedule: Schedule) -> Denoiser:
    """The exact denoiser of an analytic data distribution: ``E[x0 | x_t]`` and ``E[eps | x_t]``.

    Args:
      density: a distribution of :mod:`scorekit.densities`; ``x_t`` is ``(..., D)``, or ``(B, D)`` with ``t`` ``(B,)``.
        Or a :class:`~scorekit.densities.RandomField`, with ``(*grid, C)`` in place of ``D``.
      schedule: gives the ``alpha`` and ``sigma`` at which the density is conditioned.

    >>> from scorekit.densities import gaussian
    >>> from scorekit.schedules import Cosine
    >>> exact_denoiser(gaussian(jnp.zeros(1), std=1.0), Cosine())(jnp.ones((1, 1)), 0.5).x0.round(4)
    Array([[0.7071]], dtype=float32)
    """
    kinds = (Gaussian, Mixture, GaussianMirage, Tilted, RandomField)
    if not isinstance(density, kinds):
        raise ValueError(f"density must be one of {', '.join(kind.__name__ for kind in kinds)}, got {density!r}")
    return Partial(_exact, density, schedule)


def _log_snr_network(network, schedule, scale, x_t, t):
    return network(x_t, scale * seen_log_snr(schedule.log_snr(t)))


@checked
def condition_on_log_snr(network: Network, schedule: Schedule, scale: Finite[Number] = 0.25) -> Network:
    """A network of ``(x_t, t)`` from one conditioned on the noise level, which is called with ``scale * log_snr(t)``.

    The log-SNR is clipped to +-20 nats: at pure noise, t = 1, and for clean data the network gets an input of the range
    that it has seen in training. A network that is conditioned on the noise level instead of the time may be
    trained with one schedule and sampled with another.

    Args:
      network: ``(x_t, noise_level) -> output``.
      schedule: turns the time into the log-SNR.
      scale: factor of the log-SNR.

    >>> from scorekit.schedules import Cosine
    >>> condition_on_log_snr(lambda x, noise_level: noise_level, Cosine())(jnp.ones(1), 1.0)
    Array(-5., dtype=float32)
    """
    return Partial(_log_snr_network, as_pytree(network), schedule, scale)


def _scaled_network(network, schedule, sigma_data, x_t, t):
    check_floating(x=x_t)
    check_time(t=t)
    check_levels(x_t, t=t)
    scale = jnp.hypot(schedule.sigma(t), schedule.alpha(t) * sigma_data)
    return network(combine((1.0 / scale, x_t)), t)


@checked
def scale_input(network: Network, schedule: Schedule, sigma_data: Positive[Number] = 0.5) -> Network:
    """A network whose input is scaled to ``x_t / sqrt(sigma^2 + alpha^2 sigma_data^2)``, of unit variance at every t.

    With :class:`scorekit.predictions.EDMTarget` and :func:`condition_on_log_snr` (``scale=-1/8`` is EDM's
    ``log(sigma) / 4``) this is EDM preconditioning for any schedule.

    Args:
      network: ``(x, t) -> output`` with an ``x`` of unit variance.
      schedule: gives ``alpha`` and ``sigma`` of the scale.
      sigma_data: standard deviation of the data.

    >>> from scorekit.schedules import GeometricVE
    >>> scale_input(lambda x, t: x, GeometricVE(sigma_min=0.01, sigma_max=50.0), 0.5)(jnp.full(1, 50.0), 1.0).round(3)
    Array([1.], dtype=float32)

    Source: Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364).
    """
    return Partial(_scaled_network, as_pytree(network), schedule, sigma_data)
