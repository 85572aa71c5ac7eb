"""Classifier-free guidance and other affine combinations of predictions.

``uncond + gamma (cond - uncond)``: ``gamma = 0`` is unconditional, 1 plain conditional, above 1 guided (Ho & Salimans
2022, https://arxiv.org/abs/2207.12598, whose w is ``gamma - 1``). A scale may be a function of the time
(:func:`scorekit.guidance.weight_schedule`).
"""

from collections.abc import Callable, Sequence

from scorekit.arguments import Fraction, checked
from scorekit.guidance.rules import branches, guidance_rule, rule
from scorekit.numerics.scales import Scale, check_scale, value_at
from scorekit.trees import combine
from scorekit.typing import Array, Denoiser, Number, Prediction, PyTree


def _mix(uncond: Prediction, conds: Sequence[Prediction], scales: Sequence[Array]) -> Prediction:
    """``uncond + sum_i scale_i (cond_i - uncond)`` on both halves."""
    rest = 1.0 - sum(scales)
    halves = zip(uncond, *conds, strict=True)
    return Prediction(*(combine((rest, u), *zip(scales, each, strict=True)) for u, *each in halves))


def _affine(predictions, x_t, t, *scales):
    uncond, *conds = predictions
    return _mix(uncond, conds, [value_at(scale, x_t, t, "guidance_scale or guidance_scales") for scale in scales])


@guidance_rule()
def classifier_free(cond: Denoiser, uncond: Denoiser, guidance_scale: Scale) -> Denoiser:
    """Classifier-free guidance, ``uncond + gamma (cond - uncond)``.

    Costs 2 evaluations, or 1 of twice the size if both come from :func:`scorekit.guidance.branches`. The
    *negative prompt* of most interfaces is a second condition in place of ``uncond``.

    Args:
      cond: the conditional denoiser.
      uncond: the denoiser without the condition, or with the negative prompt in its place.
      guidance_scale: gamma, a scalar, ``(B,)``, or a function of the time; 0 is unconditional, 1 plain conditional.

    >>> import jax.numpy as jnp
    >>> cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x - c) for c in (1.0, 0.0))
    >>> classifier_free(cond, uncond, 3.0)(jnp.ones(1), 0.5).x0
    Array([3.], dtype=float32)

    Source: Ho & Salimans 2022, eq. 6 (https://arxiv.org/abs/2207.12598).
    """
    return rule(_affine, (uncond, cond), guidance_scale)


@checked
def classifier_free_batched(
    cond: Callable[[PyTree, Array, PyTree], Prediction],
    conditions: PyTree,
    null_conditions: PyTree,
    guidance_scale: Scale,
) -> Denoiser:
    """Classifier-free guidance with one network call on a doubled batch: 1 evaluation of twice the size.

    A shorthand for ``classifier_free(*branches(cond, conditions, null_conditions), guidance_scale)``.

    Args:
      cond: the conditional denoiser, ``(x_t, t, conditions) -> Prediction``.
      conditions: the conditions, a tree of ``(B, ...)`` arrays.
      null_conditions: the null conditions, broadcast to the shape of ``conditions``.
      guidance_scale: gamma, a scalar, ``(B,)``, or a function of the time; 0 is unconditional, 1 plain conditional.

    >>> import jax.numpy as jnp
    >>> labelled = lambda x, t, c: Prediction(c + 0 * x, x)
    >>> classifier_free_batched(labelled, jnp.ones(2), 0.0, 3.0)(jnp.ones(2), 0.5).x0
    Array([3., 3.], dtype=float32)
    """
    conditional, uncond = branches(cond, conditions, null_conditions)
    return classifier_free(conditional, uncond, guidance_scale)


@guidance_rule()
def autoguidance(cond: Denoiser, weak: Denoiser, guidance_scale: Scale) -> Denoiser:
    """Autoguidance, away from a weaker model of the same data: ``weak + gamma (cond - weak)``.

    The formula of :func:`classifier_free` with a weak model in place of the unconditional one; it loses less diversity.
    The weak model has the *same* condition and less training, less capacity or a shorter average of its parameters.

    Args:
      cond: the model.
      weak: the weaker model.
      guidance_scale: gamma; 1 is the model alone. Published values are 1.5 to 3.

    >>> import jax.numpy as jnp
    >>> cond, weak = (lambda x, t, c=c: Prediction(c + 0 * x, x - c) for c in (1.0, 0.75))
    >>> autoguidance(cond, weak, 2.0)(jnp.ones(1), 0.5).x0
    Array([1.25], dtype=float32)

    Source: Karras et al. 2024 (https://arxiv.org/abs/2406.02507).
    """
    return classifier_free(cond, weak, guidance_scale)


@guidance_rule(unguided_at_one=False)
def compose(uncond: Denoiser, conds: Sequence[Denoiser], guidance_scales: Sequence[Scale]) -> Denoiser:
    """Composition of conditions, ``uncond + sum_i gamma_i (cond_i - uncond)``; a negative scale negates a condition.

    The score belongs to ``p_t(x) prod_i p_t(y_i | x)^gamma_i``, which treats the conditions as independent given the
    noisy state.

    Args:
      uncond: the denoiser without any of the conditions.
      conds: the conditional denoisers; with ``uncond`` they may be :func:`scorekit.guidance.branches` of one call.
      guidance_scales: gamma_i, one for each of ``conds``.

    >>> import jax.numpy as jnp
    >>> cond, other, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x - c) for c in (1.0, 0.5, 0.0))
    >>> compose(uncond, [cond, other], [2.0, -1.0])(jnp.ones(1), 0.5).x0
    Array([1.5], dtype=float32)

    Source: Liu et al. 2022 (https://arxiv.org/abs/2206.01714).
    """
    if len(conds) != len(guidance_scales) or not conds:
        raise ValueError(
            f"guidance_scales must be one for each of conds, at least one, got {len(guidance_scales)} for {len(conds)}"
        )
    for scale in guidance_scales:
        check_scale(guidance_scales=scale)
    return rule(_affine, (uncond, *conds), *guidance_scales)


def _negative(predictions, x_t, t, scale, negative_scale):
    uncond, cond, unwanted = predictions
    return _mix(
        uncond, [cond, unwanted], [value_at(scale, x_t, t), -value_at(negative_scale, x_t, t, "negative_scale")]
    )


@guidance_rule(unguided_at_one=False)
def negative(
    cond: Denoiser, uncond: Denoiser, unwanted: Denoiser, guidance_scale: Scale, negative_scale: Scale
) -> Denoiser:
    """Guidance away from a second condition: ``uncond + gamma (cond - uncond) - nu (unwanted - uncond)``.

    With ``nu = gamma - 1`` the unconditional branch cancels and this is what most interfaces call a negative prompt,
    ``classifier_free(cond, unwanted, gamma)``, which costs one evaluation less; with ``nu = 0`` it is
    :func:`classifier_free`.

    Args:
      cond: the denoiser of the wanted condition.
      uncond: the denoiser without the condition, or with the negative prompt in its place.
      unwanted: the denoiser of the negative condition.
      guidance_scale: gamma.
      negative_scale: nu.

    >>> import jax.numpy as jnp
    >>> cond, unwanted, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x - c) for c in (1.0, 0.5, 0.0))
    >>> negative(cond, uncond, unwanted, 3.0, 1.0)(jnp.ones(1), 0.5).x0
    Array([2.5], dtype=float32)

    Source: Liu et al. 2022 (https://arxiv.org/abs/2206.01714).
    """
    return rule(_negative, (uncond, cond, unwanted), guidance_scale, negative_scale)


def _plus_plus(predictions, x_t, t, scale):
    uncond, cond = predictions
    return Prediction(_mix(uncond, [cond], [value_at(scale, x_t, t)]).x0, uncond.eps)


@guidance_rule(unguided_at_one=False, splits=True)
def cfg_plus_plus(
    cond: Denoiser, uncond: Denoiser, guidance_scale: Fraction[Number] | Callable[[Array], Array]
) -> Denoiser:
    """CFG++: the guided clean estimate with the unconditional noise.

    ``x0 = x0_uncond + gamma (x0_cond - x0_uncond)``, ``eps = eps_uncond``, so that a DDIM step is ``x_s = alpha_s x0 +
    sigma_s eps_uncond``. This is the only rule after which ``alpha x0 + sigma eps`` is *not* ``x_t``: use a solver that
    reads both (``Euler``, ``Ancestral``), and apply rules that recompute the noise (thresholds, rescale) before this
    one.

    Args:
      cond: the conditional denoiser.
      uncond: the denoiser without the condition, or with the negative prompt in its place.
      guidance_scale: lambda of the paper; 0 is unconditional, and 1 is *not* plain conditional sampling.

    >>> import jax.numpy as jnp
    >>> cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x - c) for c in (1.0, 0.0))
    >>> cfg_plus_plus(cond, uncond, 0.5)(jnp.ones(1), 0.5)
    Prediction(x0=Array([0.5], dtype=float32), eps=Array([1.], dtype=float32))

    Source: Chung et al. 2024 (https://arxiv.org/abs/2406.08070).
    """
    return rule(_plus_plus, (uncond, cond), guidance_scale)
