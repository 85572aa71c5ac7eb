"""History guidance: away from the prediction with less knowledge of the previous frames."""

import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import Finite, Fraction, PositiveFraction, checked
from scorekit.checks import check_like
from scorekit.forcing._checks import frames_of
from scorekit.process import transition
from scorekit.trees import as_pytree, combine, where
from scorekit.typing import Array, Denoiser, Prediction, PyTree, Schedule


@checked
def history_guidance(
    denoiser: Denoiser,
    schedule: Schedule,
    noise: PyTree,
    guidance_scale: Finite[float],
    *,
    level: PositiveFraction[float] = 1.0,
    clean: Fraction[float] = 0.0,
) -> Denoiser:
    """Guidance by the history, the frames with ``t == clean``: ``masked + gamma (full - masked)`` for all others.

    ``masked`` is the prediction with the history noised further, to ``level``. With level 1 and ``alpha(1) = 0``
    nothing of the history is left: classifier-free guidance with the history as the condition. Below 1 a rough history
    remains. 2 evaluations.

    Args:
      denoiser: ``(x_t, t) -> Prediction`` with ``t`` of shape ``(B, T)``.
      schedule: the noise schedule.
      noise: standard normal noise shaped like the state, the same at every evaluation.
      guidance_scale: gamma; 1 is the denoiser itself, 0 forgets the history.
      level: the time to which the history is noised.
      clean: the time that the sampler passes for frames of the history, exactly: 0, or its ``stabilisation``.

    Returns:
      ``(x_t, t) -> Prediction``, the guided denoiser.

    >>> from scorekit import densities, schedules
    >>> from scorekit.forcing import exact_denoiser
    >>> pair = densities.gaussian(jnp.zeros(2), covariance=jnp.array([[1.0, 0.8], [0.8, 1.0]]))
    >>> schedule, x = schedules.Cosine(), jnp.ones((1, 2, 1))
    >>> guided = history_guidance(exact_denoiser(pair, schedule, 2), schedule, x, 2.0)
    >>> print(guided(x, jnp.array([[0.0, 1.0]])).x0[0, :, 0].round(3))  # 0.8 with the first frame, 0 without it
    [1.  1.6]

    Source: Song et al. 2025, "History-guided video diffusion" (https://arxiv.org/abs/2502.06764).
    """
    frames_of("noise", noise)
    return Partial(_guided, as_pytree(denoiser), schedule, noise, guidance_scale, level, clean)


def _guided(denoiser, schedule, noise, scale, level, clean, x_t: PyTree, t: Array) -> Prediction:
    check_like("noise", noise, x_t=x_t)
    shape = frames_of("x_t", x_t)
    if jnp.shape(t) != shape:
        raise ValueError(f"t must have shape {shape}, one value per frame, got {jnp.shape(t)}")
    level = jnp.asarray(level, jnp.float32)
    history = (t == jnp.asarray(clean, t.dtype)) & (t <= level)
    kernel = transition(schedule, level, jnp.where(history, t, 0.0))
    noised = combine((kernel.scales[0], x_t), (kernel.std, noise))
    full, masked = denoiser(x_t, t), denoiser(where(history, noised, x_t), jnp.where(history, level, t))
    guided = [combine((1.0 - scale, m), (scale, f)) for m, f in zip(masked, full, strict=True)]
    return where(history, full, Prediction(*guided))
