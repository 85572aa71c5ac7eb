"""Classifier-free guidance and its arithmetic: affine combinations of predictions.

``uncond + gamma (cond - uncond)``: ``gamma = 0`` is unconditional, 1 plain conditional, above 1 guided (Ho & Salimans
2022, https://arxiv.org/abs/2207.12598, whose w is ``gamma - 1``). A scale is a number, one per example ``(B,)``, or a
function of the time (:func:`scorekit.guidance.weight_schedule`).
"""

from collections.abc import Callable, Sequence

from scorekit.guidance.rules import Scale, branches, check_number, number_at, rule
from scorekit.trees import combine
from scorekit.typing import Array, Denoiser, Prediction, PyTree


def mix(base: Prediction, others: Sequence[Prediction], weights: Sequence[Array]) -> Prediction:
    """``base + sum_i w_i (other_i - base)`` on both halves.

    >>> mix(Prediction(0.0, 0.0), [Prediction(1.0, -1.0)], [2.0]).x0
    Array(2., dtype=float32)
    """
    rest = 1.0 - sum(weights)
    halves = zip(base, *others, strict=True)
    return Prediction(*(combine((rest, b), *zip(weights, each, strict=True)) for b, *each in halves))


def _affine(predictions, x_t, t, *weights):
    base, *others = predictions
    return mix(base, others, [number_at(w, t) for w in weights])


def classifier_free(cond: Denoiser, uncond: Denoiser, guidance_scale: Scale) -> Denoiser:
    """Classifier-free guidance, ``uncond + gamma (cond - uncond)``.

    Costs 2 evaluations, or 1 of twice the size if both come from :func:`scorekit.guidance.branches`. A *negative
    prompt*, as most interfaces have it, is a second condition in the place of ``uncond``.

    Args:
      cond: the conditional denoiser.
      uncond: the unconditional one.
      guidance_scale: gamma, a scalar, one per example ``(B,)``, or a function of t.

    >>> from scorekit.denoisers import denoiser_from_network
    >>> from scorekit.schedules import rectified_flow
    >>> import jax.numpy as jnp
    >>> one = denoiser_from_network(lambda x, t: 0 * x + 1, rectified_flow(), "x0")
    >>> nil = denoiser_from_network(lambda x, t: 0 * x, rectified_flow(), "x0")
    >>> classifier_free(one, nil, 3.0)(jnp.ones(1), 0.5).x0
    Array([3.], dtype=float32)

    Source: Ho & Salimans 2022, eq. 6 (https://arxiv.org/abs/2207.12598).
    """
    return rule(_affine, (uncond, cond), guidance_scale)


def classifier_free_batched(
    conditional: Callable[[PyTree, Array, PyTree], Prediction],
    condition: PyTree,
    null: PyTree,
    guidance_scale: Scale,
) -> Denoiser:
    """Classifier-free guidance with one network call on a doubled batch: 1 evaluation of twice the size.

    ``classifier_free(*branches(conditional, condition, null), guidance_scale)``.

    Args:
      conditional: ``(x_t, t, condition) -> Prediction``.
      condition: the conditions, a tree of ``(B, ...)`` arrays.
      null: the null condition, broadcast to the shape of ``condition``.
      guidance_scale: gamma, as in :func:`classifier_free`.

    >>> import jax.numpy as jnp
    >>> conditional = lambda x, t, c: Prediction(c + 0 * x, x)
    >>> classifier_free_batched(conditional, jnp.ones(2), 0.0, 3.0)(jnp.ones(2), 0.5).x0
    Array([3., 3.], dtype=float32)
    """
    cond, uncond = branches(conditional, condition, null)
    return classifier_free(cond, uncond, guidance_scale)


def autoguidance(strong: Denoiser, weak: Denoiser, guidance_scale: Scale) -> Denoiser:
    """Away from a weaker model of the same data, ``weak + gamma (strong - weak)``: fidelity for less diversity lost.

    The formula of :func:`classifier_free`; the weak model has the *same* condition and less training, capacity or a
    shorter average of its parameters.

    Args:
      strong: the model.
      weak: the weaker one.
      guidance_scale: gamma; 1 is the model alone. Published values are 1.5 to 3.

    >>> import jax.numpy as jnp
    >>> strong, weak = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (1.0, 0.8))
    >>> autoguidance(strong, weak, 2.0)(jnp.ones(1), 0.5).x0.round(3)
    Array([1.2], dtype=float32)

    Source: Karras et al. 2024, sec. 3 (https://arxiv.org/abs/2406.02507).
    """
    return classifier_free(strong, weak, guidance_scale)


def compose(base: Denoiser, conditions: Sequence[Denoiser], weights: Sequence[Scale]) -> Denoiser:
    """Arithmetic on conditions, ``base + sum_i w_i (condition_i - base)``; a negative weight takes a condition away.

    The score is that of ``p_t(x) prod_i p_t(y_i | x)^w_i``, as if the conditions were independent given the noisy
    state.

    Args:
      base: the unconditional denoiser.
      conditions: the conditional ones; with ``base`` they may be :func:`scorekit.guidance.branches` of one call.
      weights: one scale for each.

    Raises:
      ValueError: unless there is one weight for each condition, and at least one.

    >>> import jax.numpy as jnp
    >>> base, a, b = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (0.0, 1.0, 10.0))
    >>> compose(base, [a, b], [2.0, -0.1])(jnp.ones(1), 0.5).x0
    Array([1.], dtype=float32)

    Source: Liu et al. 2022, eq. 11 and 13 (https://arxiv.org/abs/2206.01714).
    """
    if len(conditions) != len(weights) or not conditions:
        raise ValueError(
            f"weights must be one for each condition, at least one, got {len(weights)} for {len(conditions)} conditions"
        )
    return rule(_affine, (base, *conditions), *weights)


def _negative(predictions, x_t, t, scale, negative_scale):
    uncond, cond, unwanted = predictions
    return mix(uncond, [cond, unwanted], [number_at(scale, t), -number_at(negative_scale, t)])


def negative(
    cond: Denoiser, uncond: Denoiser, unwanted: Denoiser, guidance_scale: Scale, negative_scale: Scale
) -> Denoiser:
    """Towards one condition and away from another: ``uncond + gamma (cond - uncond) - nu (unwanted - uncond)``.

    With ``nu = gamma - 1`` the unconditional branch cancels and this is what most interfaces call a negative prompt,
    ``classifier_free(cond, unwanted, gamma)``, for an evaluation less; with ``nu = 0`` nothing is unwanted.

    Args:
      cond: the wanted condition.
      uncond: no condition.
      unwanted: the negative condition.
      guidance_scale: gamma.
      negative_scale: nu.

    >>> import jax.numpy as jnp
    >>> cond, uncond, unwanted = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (1.0, 0.0, 0.5))
    >>> negative(cond, uncond, unwanted, 3.0, 1.0)(jnp.ones(1), 0.5).x0
    Array([2.5], dtype=float32)

    Source: Liu et al. 2022, eq. 13 (https://arxiv.org/abs/2206.01714).
    """
    return rule(_negative, (uncond, cond, unwanted), guidance_scale, negative_scale)


def _plus_plus(predictions, x_t, t, scale):
    uncond, cond = predictions
    return Prediction(mix(uncond, [cond], [number_at(scale, t)]).x0, uncond.eps)


def cfg_plus_plus(cond: Denoiser, uncond: Denoiser, guidance_scale: Scale) -> Denoiser:
    """CFG++: the guided clean estimate, noised again with the unconditional noise.

    ``x0 = x0_uncond + gamma (x0_cond - x0_uncond)``, ``eps = eps_uncond``, so that a DDIM step is ``x_s = alpha_s x0 +
    sigma_s eps_uncond``. The only rule after which ``alpha x0 + sigma eps`` is *not* ``x_t``: take a solver that reads
    both halves (``Euler``, ``Ancestral``), and put rules that recompute the noise (thresholds, rescale) on what is
    inside.

    Args:
      cond: the conditional denoiser.
      uncond: the unconditional one.
      guidance_scale: lambda of the paper, in [0, 1]; 0 is unconditional, and 1 is *not* plain conditional sampling.

    Raises:
      ValueError: for a scale outside [0, 1].

    >>> import jax.numpy as jnp
    >>> cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x - c) for c in (1.0, 0.0))
    >>> cfg_plus_plus(cond, uncond, 0.5)(jnp.ones(1), 0.5)
    Prediction(x0=Array([0.5], dtype=float32), eps=Array([1.], dtype=float32))

    Source: Chung et al. 2024, alg. 2 (https://arxiv.org/abs/2406.08070).
    """
    check_number(lambda x: (x >= 0) & (x <= 1), "in [0, 1]", guidance_scale=guidance_scale)
    return rule(_plus_plus, (uncond, cond), guidance_scale)
