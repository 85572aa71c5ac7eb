"""The shape of images."""

import jax.numpy as jnp

from scorekit.typing import ArrayLike


def check_images(x: ArrayLike) -> None:
    """Raises a ``ValueError`` unless ``x`` has the shape of images ``(B, H, W, C)`` and holds values.

    >>> check_images(jnp.zeros((2, 3)))
    Traceback (most recent call last):
    ValueError: x must be images (B, H, W, C), none of them 0, got shape (2, 3)
    """
    shape = jnp.shape(x)
    if len(shape) != 4 or 0 in shape:
        raise ValueError(f"x must be images (B, H, W, C), none of them 0, got shape {shape}")
