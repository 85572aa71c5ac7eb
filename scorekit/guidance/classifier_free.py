"""Classifier-free guidance: ``uncond + gamma (cond - uncond)`` on both halves of the prediction.

``gamma = 0`` is unconditional, 1 plain conditional, above 1 guided (Ho & Salimans 2022,
https://arxiv.org/abs/2207.12598, whose w is ``gamma - 1``).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit import trees
from scorekit.denoisers import as_pytree
from scorekit.schedules.numerics import as_time
from scorekit.trees import check, combine
from scorekit.typing import Array, Denoiser, Number, Prediction, PyTree, Schedule


def _mix(cond: Prediction, uncond: Prediction, scale: Number) -> Prediction:
    scale = as_time(scale)  # at least float32, whatever the precision of the state
    x0, eps = (combine((1.0 - scale, u), (scale, c)) for u, c in zip(uncond, cond, strict=True))
    return Prediction(x0, eps)


def _two_calls(cond, uncond, scale, x_t, t):
    return _mix(cond(x_t, t), uncond(x_t, t), scale)


def classifier_free(cond: Denoiser, uncond: Denoiser, guidance_scale: Number) -> Denoiser:
    """Classifier-free guidance with two network calls.

    ``D = uncond + gamma (cond - uncond)``. Costs 2 evaluations.

    Args:
      cond: the conditional denoiser.
      uncond: the unconditional one (or a negative prompt, or a weaker model: autoguidance).
      guidance_scale: gamma, scalar or one per example ``(B,)``.

    >>> from scorekit.denoisers import denoiser_from_network
    >>> from scorekit.schedules import rectified_flow
    >>> one = denoiser_from_network(lambda x, t: 0 * x + 1, rectified_flow(), "x0")
    >>> nil = denoiser_from_network(lambda x, t: 0 * x, rectified_flow(), "x0")
    >>> classifier_free(one, nil, 3.0)(jnp.ones(1), 0.5).x0
    Array([3.], dtype=float32)

    Source: Ho & Salimans 2022, eq. 6 (https://arxiv.org/abs/2207.12598).
    """
    return Partial(_two_calls, as_pytree(cond), as_pytree(uncond), guidance_scale)


def _one_call(conditional, condition, null, scale, x_t, t):
    n = trees.batch_size(x_t)
    both = jax.tree.map(lambda x: jnp.concatenate([x, x]), x_t)
    conditions = jax.tree.map(lambda c, u: jnp.concatenate([c, jnp.broadcast_to(u, c.shape)]), condition, null)
    prediction = conditional(both, jnp.concatenate([t, t]) if jnp.ndim(t) else t, conditions)
    cond = jax.tree.map(lambda x: x[:n], prediction)
    uncond = jax.tree.map(lambda x: x[n:], prediction)
    return _mix(cond, uncond, scale)


def classifier_free_batched(
    conditional: Callable[[PyTree, Array, PyTree], Prediction],
    condition: PyTree,
    null: PyTree,
    guidance_scale: Number,
) -> Denoiser:
    """Classifier-free guidance with one network call on a doubled batch: 1 evaluation of twice the size.

    Args:
      conditional: ``(x_t, t, condition) -> Prediction``.
      condition: the conditions, a tree of ``(B, ...)`` arrays.
      null: the null condition, broadcast to the shape of ``condition``.
      guidance_scale: gamma, scalar or ``(B,)``.

    >>> conditional = lambda x, t, c: Prediction(c + 0 * x, x)
    >>> classifier_free_batched(conditional, jnp.ones(2), 0.0, 3.0)(jnp.ones(2), 0.5).x0
    Array([3., 3.], dtype=float32)
    """
    return Partial(_one_call, as_pytree(conditional), condition, null, guidance_scale)


def _interval(guided, plain, schedule, noise_min, noise_max, x_t, t):
    log_snr = schedule.log_snr(t)
    low, high = -2.0 * jnp.log(noise_max), -2.0 * jnp.log(noise_min)
    inside = (log_snr >= low) & (log_snr < high)
    if jnp.ndim(t) == 0:
        return jax.lax.cond(inside, guided, plain, x_t, t)
    return trees.where(inside, guided(x_t, t), plain(x_t, t))


def interval(
    guided: Denoiser,
    plain: Denoiser,
    schedule: Schedule,
    noise_min: Number = 0.0,
    noise_max: Number = jnp.inf,
) -> Denoiser:
    """Guides only while ``noise_min < sigma / alpha <= noise_max`` and really skips the guided call elsewhere.

    With a scalar ``t`` (as in :func:`scorekit.solvers.sample`) one branch runs; with ``t`` ``(B,)`` both do.

    Args:
      guided: the denoiser inside the interval.
      plain: the denoiser outside it, normally the conditional one.
      schedule: gives the noise level at t.
      noise_min: lower bound of the noise-to-signal ratio.
      noise_max: upper bound, > ``noise_min``.

    Raises:
      ValueError: unless ``0 <= noise_min < noise_max``.

    >>> from scorekit.schedules import rectified_flow
    >>> guided, plain = (Partial(lambda c, x, t: Prediction(x + c, x), c) for c in (1.0, 0.0))
    >>> interval(guided, plain, rectified_flow(), 0.5, 2.0)(jnp.zeros(1), jnp.array(0.9)).x0
    Array([0.], dtype=float32)

    Source: Kynkaanniemi et al. 2024, eq. 4 (https://arxiv.org/abs/2404.07724).
    """
    check(lambda x: x >= 0, ">= 0", noise_min=noise_min)
    check(lambda x: x > noise_min, f"> noise_min = {noise_min}", noise_max=noise_max)
    return Partial(_interval, as_pytree(guided), as_pytree(plain), schedule, noise_min, noise_max)
