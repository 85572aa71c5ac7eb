"""Checks of arguments that the audio modules share."""

import jax.numpy as jnp

from scorekit.checks import check_positive, check_scalar
from scorekit.typing import ArrayLike


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


def check_rate(**named: ArrayLike) -> None:
    """Raises a ``ValueError`` that names the first argument that is not one number, finite and > 0.

    >>> check_rate(sample_rate=0)
    Traceback (most recent call last):
    ValueError: sample_rate must be finite and > 0, got 0
    """
    check_scalar(**named)
    check_positive(**named)
