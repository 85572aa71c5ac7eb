"""Frequency-decoupled guidance: a scale for each band of a Laplacian pyramid."""

from collections.abc import Sequence

import jax
import numpy as np

from scorekit.checks import check
from scorekit.guidance._pyramids import from_pyramid, laplacian_pyramid
from scorekit.guidance.rules import guidance_rule, rule
from scorekit.numerics import wide
from scorekit.numerics.scales import Scale, value_at
from scorekit.trees import combine
from scorekit.typing import Denoiser, Number, Prediction


def _by_bands(predictions, x_t, t, scale, *factors):
    cond, uncond = predictions
    scales = [1.0 + wide(factor) * (value_at(scale, x_t, t) - 1.0) for factor in factors]

    def half(c, u):
        bands = laplacian_pyramid(c - u, len(scales))
        weighted = [combine((scale, band)) for scale, band in zip(scales, bands, strict=True)]
        return u + from_pyramid(weighted)

    return Prediction(*(jax.tree.map(half, c, u) for c, u in zip(cond, uncond, strict=True)))


@guidance_rule()
def frequency_decoupled(
    cond: Denoiser, uncond: Denoiser, guidance_scale: Scale, factors: Sequence[Number] = (1.0, 0.5)
) -> Denoiser:
    """Guidance with a scale for each frequency band: ``uncond + sum_k gamma_k L_k (cond - uncond)``.

    ``L_k`` extracts the k-th band of a Laplacian pyramid and ``gamma_k = 1 + f_k (gamma - 1)``. The bands add up, so
    that with factors of 1 this is :func:`classifier_free`. High scales in the fine bands sharpen; low scales in the
    coarse band preserve diversity and colour.

    Args:
      cond: the conditional denoiser of arrays ``(B, H, W, C)`` or ``(B, L, C)``.
      uncond: the unconditional denoiser of the same arrays.
      guidance_scale: gamma, a scalar, ``(B,)``, or a function of the time; 1 is plain conditional in every band.
      factors: f, the fraction of ``gamma - 1`` in each band, from the finest to the coarsest; one band per factor.

    >>> import jax.numpy as jnp
    >>> cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (1.0, 0.0))
    >>> jax.jit(frequency_decoupled(cond, uncond, 3.0))(jnp.ones((1, 4, 1)), 0.5).x0.ravel()  # a constant difference
    Array([2., 2., 2., 2.], dtype=float32)

    Source: Sadat et al. 2025 (https://arxiv.org/abs/2506.19713).
    """
    if len(factors) == 0 or any(isinstance(factor, str) for factor in factors):
        raise ValueError(f"factors must be numbers, at least one, got {factors!r}")
    for factor in factors:
        check(np.isfinite, "finite", factors=factor)
    return rule(_by_bands, (cond, uncond), guidance_scale, *factors)
