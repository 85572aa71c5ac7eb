"""Rules that decompose the guidance into components parallel and orthogonal to a prediction.

Inner products and norms are taken over one example, all arrays of a tree together.
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from scorekit import trees
from scorekit.arguments import Between, Finite
from scorekit.guidance.rules import guidance_rule, rule
from scorekit.numerics import sqrt, wide
from scorekit.numerics.scales import Scale, value_at
from scorekit.predictions import Target, TargetName, Velocity, as_target, with_x0
from scorekit.trees import combine, sum_per_example
from scorekit.typing import Array, Denoiser, Number, PyTree, Schedule


def _dot(a: PyTree, b: PyTree) -> Array:
    """The inner product per example, ``(B,)``, in at least float32."""
    return sum_per_example(lambda x: x, jax.tree.map(lambda x, y: wide(x) * wide(y), a, b))


def _ratio(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where ``b`` is 0."""
    return jnp.where(b == 0, 0.0, a / jnp.where(b == 0, 1.0, b))


def _projected(predictions, x_t, t, schedule, scale, parallel, norm_threshold):
    cond, uncond = predictions
    difference = combine((1.0, cond.x0), (-1.0, uncond.x0))
    return _decomposed(cond, difference, t, schedule, value_at(scale, x_t, t), parallel, norm_threshold)


def _projected_with_momentum(state, predictions, x_t, t, schedule, scale, parallel, norm_threshold, momentum):
    cond, uncond = predictions
    difference = combine((wide(momentum), state), (1.0, cond.x0), (-1.0, uncond.x0))
    return _decomposed(cond, difference, t, schedule, value_at(scale, x_t, t), parallel, norm_threshold), difference


def _decomposed(cond, difference, t, schedule, scale, parallel, norm_threshold):
    norm = sqrt(_dot(difference, difference))
    long = norm > norm_threshold
    shrink = jnp.where(long, jnp.where(long, norm_threshold, 1.0) / jnp.where(long, norm, 1.0), 1.0)
    along = _ratio(_dot(difference, cond.x0), _dot(cond.x0, cond.x0))  # the parallel component is this times cond.x0
    strength = (scale - 1.0) * shrink
    x0 = combine((1.0 + strength * (wide(parallel) - 1.0) * along, cond.x0), (strength, difference))
    return with_x0(schedule, cond, x0, t)


def _zero_difference(x):
    return jax.tree.map(jnp.zeros_like, x)


@guidance_rule()
def apg(
    cond: Denoiser,
    uncond: Denoiser,
    schedule: Schedule,
    guidance_scale: Scale,
    *,
    parallel: Finite[Number] = 0.0,
    momentum: Annotated[Number, Between(-1, 1, "both")] | None = None,
    norm_threshold: Annotated[Number, Between(0, open="low", infinite=True)] = jnp.inf,
) -> Denoiser:
    """Adaptive projected guidance (APG): high guidance scales without oversaturation.

    ``d = x0_cond - x0_uncond + beta d_previous``, rescaled to norm r if it is longer, then
    ``x0 = x0_cond + (gamma - 1) (d_orthogonal + eta d_parallel)``, where ``d_parallel`` is the component of d parallel
    to ``x0_cond``. With ``eta = 1``, no momentum and no threshold it is :func:`classifier_free`.

    Args:
      cond: the conditional denoiser.
      uncond: the unconditional denoiser.
      schedule: the noise schedule, which keeps ``alpha x0 + sigma eps`` at ``x_t``.
      guidance_scale: gamma, a scalar, ``(B,)``, or a function of the time; 1 is plain conditional.
      parallel: eta, the weight of the component parallel to ``x0_cond``, which causes oversaturation.
      momentum: beta; published values are -0.75 to -0.5. A momentum makes the rule stateful
        (:mod:`scorekit.guidance.stateful`), with a state of the size of x; None for no momentum.
      norm_threshold: r, in units of the data times the root of the number of values; published values are 2.5 to
        15.

    >>> from scorekit.schedules import RectifiedFlow
    >>> from scorekit.typing import Prediction
    >>> cond, uncond = (lambda x, t, c=c: Prediction(jnp.array([c]), x) for c in ((2.0, 0.0), (1.0, -1.0)))
    >>> apg(cond, uncond, RectifiedFlow(), 3.0)(jnp.ones((1, 2)), 0.5).x0
    Array([[2., 2.]], dtype=float32)

    Source: Sadat et al. 2024, alg. 1 (https://arxiv.org/abs/2410.02416).
    """
    parameters = (schedule, guidance_scale, parallel, norm_threshold)
    if momentum is None:
        return rule(_projected, (cond, uncond), *parameters)
    return rule(_projected_with_momentum, (cond, uncond), *parameters, momentum, init_state=_zero_difference)


def _zero_star(predictions, x_t, t, schedule, scale, zero_above):
    velocity = Velocity()
    cond, uncond = (velocity.from_prediction(p, t, schedule) for p in predictions)
    optimal = _ratio(_dot(cond, uncond), _dot(uncond, uncond))
    scale = value_at(scale, x_t, t)
    guided = combine((scale, cond), ((1.0 - scale) * optimal, uncond))
    skipped = schedule.log_snr(t) < -2.0 * jnp.log(zero_above)
    guided = trees.where(skipped, jax.tree.map(jnp.zeros_like, guided), guided)
    return velocity.to_prediction(guided, x_t, t, schedule)


@guidance_rule(unguided_at_one=False)
def cfg_zero_star(
    cond: Denoiser,
    uncond: Denoiser,
    schedule: Schedule,
    guidance_scale: Scale,
    zero_above: Annotated[Number, Between(0, open="low", infinite=True)] = jnp.inf,
) -> Denoiser:
    """CFG-Zero*: guidance with an optimally scaled unconditional velocity, and zero velocity at the highest noise.

    ``v = s v_uncond + gamma (v_cond - s v_uncond)`` with ``s = <v_cond, v_uncond> / |v_uncond|^2`` per example, the
    least-squares fit of ``v_cond``, and ``v = 0`` where ``sigma / alpha > zero_above``, where a network's velocity may
    be worse than none.

    Args:
      cond: the conditional denoiser.
      uncond: the unconditional denoiser.
      schedule: the noise schedule; the velocity is ``alpha' x0 + sigma' eps``.
      guidance_scale: gamma, a scalar, ``(B,)``, or a function of the time; 1 is plain conditional.
      zero_above: noise-to-signal ratio above which the velocity is 0. The paper skips 4 % of the steps, which is a
        ratio of 24 for a rectified flow.

    >>> from scorekit.schedules import RectifiedFlow
    >>> from scorekit.typing import Prediction
    >>> cond, uncond = (lambda x, t, c=c: Prediction(x - c * t, x + c * (1 - t)) for c in (1.0, 0.5))  # velocity c
    >>> guided = cfg_zero_star(cond, uncond, RectifiedFlow(), 3.0)(jnp.ones((1, 2)), 0.5)
    >>> (guided.eps - guided.x0).round(3)  # they are parallel: the conditional velocity
    Array([[1., 1.]], dtype=float32)

    Source: Fan et al. 2025 (https://arxiv.org/abs/2503.18886).
    """
    return rule(_zero_star, (cond, uncond), schedule, guidance_scale, zero_above)


def _tangential(predictions, x_t, t, schedule, scale, target):
    cond, uncond = (target.from_prediction(p, t, schedule) for p in predictions)
    uu, cc, uc = _dot(uncond, uncond), _dot(cond, cond), _dot(uncond, cond)
    gap = 0.5 * (uu - cc)
    radius = sqrt(jnp.square(gap) + jnp.square(uc))
    # The projection of u on the first right-singular vector of the rows (u, c)
    damped = combine((0.5 + 0.5 * _ratio(gap, radius), uncond), (0.5 * _ratio(uc, radius), cond))
    scale = value_at(scale, x_t, t)
    guided = combine((1.0 - scale, damped), (scale, cond))
    return target.to_prediction(guided, x_t, t, schedule)


@guidance_rule()
def tangential(
    cond: Denoiser, uncond: Denoiser, schedule: Schedule, guidance_scale: Scale, target: TargetName | Target = "v"
) -> Denoiser:
    """Tangential damping: removes the part of the unconditional prediction that the conditional one does not share.

    ``u~ + gamma (c - u~)``, where ``u~`` is the projection of u on the first right-singular vector of the two rows (u,
    c): ``u~ = p_u u + p_c c`` with ``p_u = 1/2 + (|u|^2 - |c|^2) / 4r``, ``p_c = <u, c> / 2r`` and
    ``r^2 = ((|u|^2 - |c|^2) / 2)^2 + <u, c>^2``. It is not affine in u and c, and therefore depends on the
    parameterisation.

    Args:
      cond: the conditional denoiser.
      uncond: the unconditional denoiser.
      schedule: the noise schedule, which keeps ``alpha x0 + sigma eps`` at ``x_t``.
      guidance_scale: gamma, a scalar, ``(B,)``, or a function of the time; 1 is plain conditional.
      target: the parameterisation of u and c. The paper uses the output of the network, "eps" or "velocity"; "v" is
        defined at both ends of the schedule.

    >>> from scorekit.schedules import RectifiedFlow
    >>> from scorekit.typing import Prediction
    >>> cond, uncond = (lambda x, t, c=c: Prediction(jnp.array([c]), x) for c in ((1.0, 1.0), (1.0, -1.0)))
    >>> tangential(cond, uncond, RectifiedFlow(), 2.0, "x0")(jnp.ones((1, 2)), 0.5).x0  # nothing is shared
    Array([[1.5, 2.5]], dtype=float32)

    Source: Kwon et al. 2025 (https://arxiv.org/abs/2503.18137).
    """
    return rule(_tangential, (cond, uncond), schedule, guidance_scale, as_target(target))
