"""The hop of onset envelopes, an offset of magnitudes and a safe quotient."""

import jax.numpy as jnp

from scorekit.typing import Array

HOP = 0.016
"""Hop of onset envelopes, in seconds; the hop of the chroma is four times as long."""
MAGNITUDE_OFFSET = 3e-4
"""Added to STFT magnitudes before their logarithm is taken; a sine of amplitude 1 has magnitude ``fft_size / 4``."""


def over_root(x: Array, square: Array) -> Array:
    """``x / sqrt(square)``, 0 with gradient 0 where ``square`` is 0; NaN is not 0."""
    return jnp.where(square <= 0, 0.0, x / jnp.sqrt(jnp.where(square <= 0, 1.0, square)))
