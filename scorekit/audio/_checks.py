"""Bounds and checks of arguments, the hop of onset envelopes, an offset of magnitudes and a safe quotient."""

from typing import Annotated, TypeAlias

import jax.numpy as jnp

from scorekit.arguments import Count
from scorekit.typing import Array, ArrayLike

FftSize: TypeAlias = Annotated[int, Count(3)]
"""The length of a Fourier transform with a bin between 0 and half the sample rate."""
Window: TypeAlias = Annotated[int, Count(5)]
"""The samples of a frame that holds two periods of a pitch below half the sample rate."""


def check_signal(layout: str = "(..., length)", **named: ArrayLike) -> None:
    """Raises a ``ValueError`` that names the first argument that is not a real array of this layout, or is empty.

    An ellipsis stands for any number of axes; integers count as floats.
    """
    axes, free = layout.count(",") + (not layout.endswith(",)")), "..." in layout
    axes -= free
    for name, value in named.items():
        shape, dtype = jnp.shape(value), jnp.result_type(value)
        fits = len(shape) >= axes if free else len(shape) == axes
        if not fits or 0 in shape or jnp.issubdtype(dtype, jnp.complexfloating):
            raise ValueError(f"{name} must be real {layout} and not empty, got {dtype} {shape}")


HOP = 0.016
"""Hop of onset envelopes, in seconds; the hop of the chroma is four times as long."""
MAGNITUDE_OFFSET = 3e-4
"""Added to STFT magnitudes before their logarithm is taken; a sine of amplitude 1 has magnitude ``fft_size / 4``."""


def root(x: Array) -> Array:
    """The square root, with gradient 0 at 0; NaN is not 0."""
    return jnp.where(x <= 0, 0.0, jnp.sqrt(jnp.where(x <= 0, 1.0, x)))


def over_root(x: Array, square: Array) -> Array:
    """``x / sqrt(square)``, 0 with gradient 0 where ``square`` is 0; NaN is not 0."""
    return jnp.where(square <= 0, 0.0, x / jnp.sqrt(jnp.where(square <= 0, 1.0, square)))
