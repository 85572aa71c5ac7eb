"""Bounds and checks of arguments that the audio modules share."""

from typing import Annotated, TypeAlias

import jax.numpy as jnp

from scorekit.arguments import Between, Count
from scorekit.typing import ArrayLike

Rate: TypeAlias = Annotated[float, Between(0, open="low", scalar=True)]
"""A sample rate in Hz."""
FftSize: TypeAlias = Annotated[int, Count(3)]
"""The length of a Fourier transform with a bin between 0 and half the sample rate."""
Window: TypeAlias = Annotated[int, Count(5)]
"""The samples of a frame that holds two periods of a pitch below half the sample rate."""


def check_signal(layout: str = "(..., length)", **named: ArrayLike) -> None:
    """Raises a ``ValueError`` that names the first argument that is not a real array of this layout, or is empty.

    An ellipsis stands for any number of axes; integers count as floats.

    >>> check_signal(x=jnp.zeros((2, 0)))
    Traceback (most recent call last):
    ValueError: x must be real (..., length) and not empty, got float32 (2, 0)
    """
    axes, free = layout.count(",") + (not layout.endswith(",)")), "..." in layout
    axes -= free
    for name, value in named.items():
        shape, dtype = jnp.shape(value), jnp.result_type(value)
        fits = len(shape) >= axes if free else len(shape) == axes
        if not fits or 0 in shape or jnp.issubdtype(dtype, jnp.complexfloating):
            raise ValueError(f"{name} must be real {layout} and not empty, got {dtype} {shape}")
