"""Classifier guidance: the gradient of a classifier of noisy states added to the score."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.checks import check_per_example
from scorekit.guidance.rules import guidance_rule, rule
from scorekit.numerics.scales import Scale, value_at
from scorekit.predictions import with_x0
from scorekit.trees import as_pytree, batch_size, combine
from scorekit.typing import Array, Denoiser, PyTree, Schedule

_LOWEST = -16.0  # log-SNR; see the docstring


def _gradient_of_batch(log_likelihood, x_t, t):
    def total(x):
        value = log_likelihood(x, t)
        check_per_example(x, log_likelihood=value)
        return jnp.sum(value)

    return jax.grad(total)(x_t)


def _gradient_per_example(log_likelihood, x_t, t):
    times = jnp.broadcast_to(t, (batch_size(x_t),))
    return jax.vmap(jax.grad(lambda x, t: jnp.sum(log_likelihood(x, t))))(x_t, times)


def _guided(gradient, predictions, x_t, t, log_likelihood, schedule, scale):
    (prediction,) = predictions
    at = jnp.minimum(t, schedule.time_at(_LOWEST))
    strength = value_at(scale, x_t, t) * jnp.square(schedule.sigma(at)) / schedule.alpha(at)
    x0 = combine((1.0, prediction.x0), (strength, gradient(log_likelihood, x_t, at)))
    return with_x0(schedule, prediction, x0, t)


def _of_batch(predictions, x_t, t, log_likelihood, schedule, scale):
    return _guided(_gradient_of_batch, predictions, x_t, t, log_likelihood, schedule, scale)


def _of_examples(predictions, x_t, t, log_likelihood, schedule, scale):
    return _guided(_gradient_per_example, predictions, x_t, t, log_likelihood, schedule, scale)


@guidance_rule(unguided="uncond", unguided_at_one=False)
def classifier_guidance(
    uncond: Denoiser,
    log_likelihood: Callable[[PyTree, Array], Array],
    schedule: Schedule,
    guidance_scale: Scale,
    *,
    batched: bool = True,
) -> Denoiser:
    """Adds ``gamma grad_x log p(y | x_t)`` to the score.

    ``x0 + gamma (sigma^2 / alpha) grad`` and ``eps - gamma sigma grad``. With the classifier of the noisy states and
    ``gamma = 1`` this is the conditional score. A classifier trained on clean data only does not give it and is
    misleading at high noise. Each evaluation costs the denoiser, the classifier and the gradient of the classifier.

    At ``alpha = 0`` the state is independent of y and ``grad / alpha`` is 0/0. Below a log-SNR of -16 (``alpha <
    3.4e-4 sigma``) the value at -16 is used, whose relative error is 3.4e-4, so that t = 1 is allowed. The gradient of
    a *learned* classifier has to vanish there, because it is amplified by a factor of up to 3000; if it does not, guide
    within an :func:`interval`.

    Args:
      uncond: the denoiser to guide, unconditional or with other conditions.
      log_likelihood: ``(x_t, t) -> log p(y | x_t)`` up to a constant; bind y and the parameters with
        ``jax.tree_util.Partial``. Shaped ``(B,)`` or a scalar that sums over the batch; no term may mix examples.
      schedule: the noise schedule, which gives ``sigma^2 / alpha`` and ``sigma``.
      guidance_scale: gamma, a scalar, ``(B,)``, or a function of the time.
      batched: whether ``log_likelihood`` takes a batch, and not *one* example (no batch axis) and its scalar time.

    >>> from scorekit.densities import gaussian
    >>> from scorekit.denoisers import exact_denoiser
    >>> from scorekit.schedules import RectifiedFlow
    >>> schedule = RectifiedFlow()
    >>> prior = exact_denoiser(gaussian(jnp.zeros(1), std=1.0), schedule)
    >>> towards = lambda x, t: -0.5 * (x[..., 0] - 3.0) ** 2  # any differentiable log-likelihood
    >>> classifier_guidance(prior, towards, schedule, 1.0)(jnp.zeros((1, 1)), 0.5).x0
    Array([[1.5]], dtype=float32)

    Source: Dhariwal & Nichol 2021 (https://arxiv.org/abs/2105.05233).
    """
    formula = _of_batch if batched else _of_examples
    return rule(formula, (uncond,), as_pytree(log_likelihood), schedule, guidance_scale)
