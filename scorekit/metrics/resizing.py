"""The input of the Inception network: how images are resized decides which FID it is.

==========  ==========================================================  ============================================
name        interpolation                                               used by
==========  ==========================================================  ============================================
``tf1``     bilinear, ``src = i in / out``, no antialiasing             the original FID, ADM, EDM, torch-fidelity
``torch``   bilinear, ``src = (i + 1/2) in / out - 1/2``, likewise      pytorch-fid and its dependents
``clean``   bicubic with antialiasing (PIL), floats clipped to 0..255   clean-fid
==========  ==========================================================  ============================================

Values from 0 to 255 become ``(x - 128) / 128``; pytorch-fid alone takes ``2 x / 255 - 1``, and so does ``torch`` here.

>>> row = jnp.array([0.0, 255.0]).reshape(1, 1, 2, 1)
>>> for convention in CONVENTIONS:
...     print(convention, resize(row, 4, convention)[0, 0, :, 0].round(1))
tf1 [  0.  127.5 255.  255. ]
torch [  0.   63.8 191.2 255. ]
clean [  0.   52.8 202.2 255. ]
>>> x = inception_input(np.full((2, 32, 32, 1), 255, np.uint8), "tf1")
>>> x.shape, float(x.max())
((2, 299, 299, 3), 0.9921875)

Source: Parmar et al. 2022 (https://arxiv.org/abs/2104.11222), which compares them.
"""

import functools
from typing import Annotated, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, PositiveInt, checked
from scorekit.checks import nan_unless
from scorekit.metrics.inception import SIDE
from scorekit.typing import Array, ArrayLike

Convention: TypeAlias = Literal["tf1", "torch", "clean"]
"""The name of a way to resize images for the network of a FID."""
CONVENTIONS: tuple[Convention, ...] = ("tf1", "torch", "clean")
"""The names of all ways to resize."""


@checked
def resize(images: Annotated[ArrayLike, Between(0, 255)], size: PositiveInt, convention: Convention) -> Array:
    """Images of another size, by one of the conventions of published FIDs, float32 from 0 to 255.

    Args:
      images: ``(B, H, W, C)`` with values from 0 to 255, integers or floats.
      size: pixels along a side of the result.
      convention: name in the table.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be (B, H, W, C) with none of them 0, got {images.shape}")
    x = nan_unless(jnp.all((images >= 0) & (images <= 255)), images.astype(jnp.float32))
    return _bicubic(x, size) if convention == "clean" else _bilinear(x, size, half_pixel=convention == "torch")


@checked
def inception_input(images: ArrayLike, convention: Convention) -> Array:
    """Images, also grey, as the Inception network receives them: resized to 299 pixels a side, near [-1, 1].

    ``(x - 128) / 128`` of the resized x, or ``2 x / 255 - 1`` with the convention "torch".

    Args:
      images: ``(B, H, W, C)`` with values from 0 to 255, integers or floats.
      convention: name in the table.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must be (B, H, W, C) with C 1 or 3, got {images.shape}")
    x = resize(images, SIDE, convention)
    x = 2.0 * (x / 255.0) - 1.0 if convention == "torch" else (x - 128.0) / 128.0
    return jnp.broadcast_to(x, (*x.shape[:-1], 3))


def _bilinear(x: Array, size: int, half_pixel: bool) -> Array:
    """Bilinear resizing in the order of operations of TensorFlow 1: columns before rows."""
    (top, bottom, down), (left, right, across) = (_neighbours(n, size, half_pixel) for n in x.shape[1:3])
    across, down = across[:, None], down[:, None, None]
    rows = [x[:, i][:, :, left] + (x[:, i][:, :, right] - x[:, i][:, :, left]) * across for i in (top, bottom)]
    return rows[0] + (rows[1] - rows[0]) * down


def _neighbours(length: int, size: int, half_pixel: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new position the old positions before and after it, and the weight of the one after."""
    at = np.arange(size, dtype=np.float32)
    scale = np.float32(length / size)
    source = np.maximum(scale * (at + np.float32(0.5)) - np.float32(0.5), np.float32(0)) if half_pixel else at * scale
    before = np.minimum(source.astype(np.int32), length - 1)
    return before, np.minimum(before + 1, length - 1), source - before.astype(np.float32)


def _bicubic(x: Array, size: int) -> Array:
    highest = jax.lax.Precision.HIGHEST
    x = jnp.einsum("bhwc,vw->bhvc", x, _bicubic_weights(x.shape[2], size), precision=highest)
    return jnp.clip(jnp.einsum("bhvc,uh->buvc", x, _bicubic_weights(x.shape[1], size), precision=highest), 0.0, 255.0)


@functools.cache
def _bicubic_weights(length: int, size: int) -> np.ndarray:
    """``(size, length)``: Keys' cubic with a = -1/2, as wide as a new pixel where the image shrinks."""
    scale = length / size
    width = max(scale, 1.0)
    centre = (np.arange(size) + 0.5) * scale
    first = np.maximum((centre - 2.0 * width + 0.5).astype(int), 0)
    last = np.minimum((centre + 2.0 * width + 0.5).astype(int), length)
    pixel = np.arange(length)
    z = np.abs((pixel - centre[:, None] + 0.5) / width)
    near, far = (1.5 * z - 2.5) * z**2 + 1.0, ((-0.5 * z + 2.5) * z - 4.0) * z + 2.0
    weights = np.where(z < 1, near, np.where(z < 2, far, 0.0))
    weights = np.where((pixel >= first[:, None]) & (pixel < last[:, None]), weights, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
