"""The places of images ``(B, H, W, C)`` and signals ``(B, L, C)``: folded into channels, and maps brought to them."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorekit.networks.conditioning import Masked
from scorekit.networks.embeddings import OrNull
from scorekit.typing import Array

DType = jnp.dtype | type


def check_signal_or_image(x: Array) -> None:
    """Refuses what is neither a batch of signals nor one of images."""
    if x.ndim not in (3, 4):
        raise ValueError(f"x must have shape (B, H, W, C) or (B, L, C), got {x.shape}")


def space_to_depth(x: Array, sizes: Sequence[int]) -> Array:
    """Patches as channels: ``(B, H, W, C) -> (B, H / p, W / q, p q C)``, or likewise ``(B, L, C)``.

    Args:
      x: images or signals, each axis divisible by its size.
      sizes: of a patch along each axis, ``(p, q)`` or ``(p,)``.

    Returns:
      The places of a patch in their order, the channels of each together.

    >>> space_to_depth(jnp.arange(8).reshape(1, 4, 2), (2,))[0]
    Array([[0, 1, 2, 3],
           [4, 5, 6, 7]], dtype=int32)
    """
    batch, *places, channels = x.shape
    split = [n for place, size in zip(places, sizes, strict=True) for n in (place // size, size)]
    axes = range(1, 1 + 2 * len(places))
    x = x.reshape(batch, *split, channels).transpose(0, *axes[::2], *axes[1::2], 1 + len(split))
    return x.reshape(batch, *split[::2], math.prod(sizes) * channels)


def depth_to_space(x: Array, sizes: Sequence[int]) -> Array:
    """The inverse of :func:`space_to_depth`.

    >>> x = jnp.arange(32).reshape(1, 4, 4, 2)
    >>> bool(jnp.all(depth_to_space(space_to_depth(x, (2, 4)), (2, 4)) == x))
    True
    """
    batch, *places, channels = x.shape
    rank = len(places)
    x = x.reshape(batch, *places, *sizes, channels // math.prod(sizes))
    axes = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
    x = x.transpose(0, *axes, 1 + 2 * rank)
    return x.reshape(batch, *(place * size for place, size in zip(places, sizes, strict=True)), x.shape[-1])


def resized(value: Array, places: tuple[int, ...]) -> Array:
    """A map brought to these places, linearly between its own.

    The cells of the map lie over the cells of the places, except along a signal whose map has one row more than what
    divides it: those are centred frames (:func:`scorekit.audio.stft`), the first and last at the two ends.

    Args:
      value: ``(B, h, w, C)`` or ``(B, rows, C)``.
      places: ``(H, W)`` or ``(L,)``.

    Returns:
      ``(B, *places, C)``.

    >>> resized(jnp.array([[[0.0], [1.0], [2.0]]]), (4,))[0, :, 0]
    Array([0.25, 0.75, 1.25, 1.75], dtype=float32)
    """
    batch, *own, channels = value.shape
    frames = len(places) == 1 and own[0] > 2 and places[0] % own[0] != 0 and places[0] % (own[0] - 1) == 0
    if not frames:
        return jax.image.resize(value, (batch, *places, channels), "linear")
    at = (np.arange(places[0]) + 0.5) * ((own[0] - 1) / places[0])
    below = at.astype(int)
    share = (at - below)[:, None].astype(value.dtype)
    return value[:, below] * (1 - share) + value[:, below + 1] * share


def embed_map(channels: int, dtype: DType, given: Masked, places: tuple[int, ...]) -> Array:
    """A dense map as features at these places, a learned null token where it is absent; for use in a compact method.

    A convolution of 3 places a side. A map that is finer than the places, by a whole number along each axis, is folded
    into channels before it; one that is coarser is resized: after the convolution where the map is coarser by 4 or more
    along each axis, which costs less, else before it.
    """
    value = given.value
    own = value.shape[1:-1]
    if len(own) != len(places):
        raise ValueError(f"map_shape must be of {len(places) + 1} axes, the last its channels, got {value.shape[1:]}")
    coarser = all(4 * n <= place for n, place in zip(own, places, strict=True))
    if own != places and all(n % place == 0 for n, place in zip(own, places, strict=True)):
        value = space_to_depth(value, [n // place for n, place in zip(own, places, strict=True)])
    elif not coarser and own != places:
        value = resized(value, places)
    h = nn.Conv(channels, (3,) * len(places), dtype=dtype, name="map")(value)
    h = resized(h, places) if coarser else h
    return OrNull(name="map_or_null")(h, given.present)
