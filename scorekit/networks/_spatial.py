"""Spatial axes of images ``(B, H, W, C)`` and signals ``(B, L, C)``: patches, resizing and embedding of maps."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check_floating
from scorekit.networks._conditions import OrNull, as_masked
from scorekit.networks.conditioning import Masked
from scorekit.typing import Array

DType = jnp.dtype | type


def check_signal_or_image(x: Array) -> None:
    """Raises ``ValueError`` unless ``x`` is a floating batch of images or of signals."""
    check_floating(x=x)
    if x.ndim not in (3, 4):
        raise ValueError(f"x must have shape (B, H, W, C) or (B, L, C), got {x.shape}")


def space_to_depth(x: Array, sizes: Sequence[int]) -> Array:
    """Folds patches into channels: ``(B, H, W, C) -> (B, H / p, W / q, p q C)``, likewise for ``(B, L, C)``.

    Channels are ordered by position within the patch, then by the channels of ``x``, whose sides ``sizes`` divide.
    """
    batch, *sides, channels = x.shape
    split = [n for side, size in zip(sides, sizes, strict=True) for n in (side // size, size)]
    axes = range(1, 1 + 2 * len(sides))
    x = x.reshape(batch, *split, channels).transpose(0, *axes[::2], *axes[1::2], 1 + len(split))
    return x.reshape(batch, *split[::2], math.prod(sizes) * channels)


def depth_to_space(x: Array, sizes: Sequence[int]) -> Array:
    """The inverse of :func:`space_to_depth`."""
    batch, *sides, channels = x.shape
    rank = len(sides)
    x = x.reshape(batch, *sides, *sizes, channels // math.prod(sizes))
    axes = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
    x = x.transpose(0, *axes, 1 + 2 * rank)
    return x.reshape(batch, *(side * size for side, size in zip(sides, sizes, strict=True)), x.shape[-1])


def resize_linear(value: Array, shape: tuple[int, ...]) -> Array:
    """Resizes a map ``(B, h, w, C)`` or ``(B, rows, C)`` to ``(B, *shape, C)`` by linear interpolation.

    Pixel areas are aligned (half-pixel centres), except where a map ``(B, rows, C)`` of a signal has one row more than
    a divisor of its length: those rows are centred frames (:func:`scorekit.audio.stft`), the first and the last at the
    two ends.
    """
    batch, *own, channels = value.shape
    frames = len(shape) == 1 and own[0] > 2 and shape[0] % own[0] != 0 and shape[0] % (own[0] - 1) == 0
    if not frames:
        return jax.image.resize(value, (batch, *shape, channels), "linear")
    at = (np.arange(shape[0]) + 0.5) * ((own[0] - 1) / shape[0])
    below = at.astype(int)
    share = (at - below)[:, None].astype(value.dtype)
    return value[:, below] * (1 - share) + value[:, below + 1] * share


def embed_map(
    channels: int,
    dtype: DType,
    given: Masked,
    shape: tuple[int, ...],
    conv: Callable[..., nn.Module] = nn.Conv,
    or_null: Callable[..., nn.Module] = OrNull,
    resized: bool = False,
) -> Array:
    """A dense map as features of a spatial shape, a learned null token where it is absent; for use in a compact method.

    A convolution with kernels of side 3. A map of a higher resolution, by an integer factor along each axis, is folded
    into channels first. One of a lower resolution is resized: before the convolution, or after it, which costs less,
    where the resolution is lower by a factor of 4 or more along each axis. With ``resized`` any map is resized before
    the convolution. ``conv`` and ``or_null`` are the layers.
    """
    value = given.value
    if value.ndim != len(shape) + 2:
        raise ValueError(f"map_shape must have {len(shape) + 1} axes, the last its channels, got {value.shape[1:]}")
    value = resize_linear(value, shape) if resized else value
    own = value.shape[1:-1]
    coarser = all(4 * n <= side for n, side in zip(own, shape, strict=True))
    if own != shape and all(n % side == 0 for n, side in zip(own, shape, strict=True)):
        value = space_to_depth(value, [n // side for n, side in zip(own, shape, strict=True)])
    elif not coarser and own != shape:
        value = resize_linear(value, shape)
    h = conv(channels, (3,) * len(shape), dtype=dtype, name="map")(value)
    h = resize_linear(h, shape) if coarser else h
    return or_null(name="map_or_null")(h, given.present)


def add_map(h: Array, dense_map: Any, map_shape: tuple[int, ...] | None, dtype: DType, resized: bool = False) -> Array:
    """``h`` and, for a network with a dense map, its features, of :func:`embed_map`; for use in a compact method."""
    given = as_masked("dense_map", dense_map, map_shape, h.shape[0])
    return h if given is None else h + embed_map(h.shape[-1], dtype, given, h.shape[1:-1], resized=resized)
