"""A U-Net for images and signals, sized by its arguments."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.checks import check_count
from scorekit.networks.conditioning import as_masked
from scorekit.networks.embeddings import Conditioning
from scorekit.networks.spatial import (
    DType,
    check_signal_or_image,
    depth_to_space,
    embed_map,
    resize_linear,
    space_to_depth,
)
from scorekit.typing import Array, ArrayLike

GRID_CHANNELS = 16
"""Channels of the coarse grid of spatially varying conditioning."""


class UNet(nn.Module):
    """U-Net with residual blocks, adaptive group norm and self-attention at chosen resolutions.

    Each residual block is conditioned on noise level and class by scale and shift of its second norm. The resolution
    halves between levels by a strided 3 x 3 convolution and doubles by a 1 x 1 convolution followed by
    nearest-neighbour repetition, which costs a quarter of a convolution at the higher resolution (Hoogeboom et al.
    2023, arXiv:2301.11093). Every residual branch ends in a convolution that starts at zero, and so does the
    network: at initialisation the output is exactly zero.

    A linear skip connects input and output around all levels: the first convolution times a gain per channel, which
    depends on the noise level and the class, is convolved to the output. What a linear filter of ``x`` predicts need
    not pass norms and nonlinearities; with patches the network learns that part late otherwise. ``filters`` turns the
    skip into an adaptive Wiener filter: a convolution of its own to that many channels, each with a gain that is
    predicted at every spatial position from the last features.

    Signals ``(B, L, C)`` are treated as images are, with 3 for 3 x 3. Raw audio is long: ``patch`` consecutive samples
    become the channels of one position, and ``factors`` above 2 reach a low resolution in fewer levels.

    A dense map is resized to the resolution of the first level and concatenated: the first convolution of the map is
    added to that of ``x``, and a learned null token replaces an absent map. A map of much lower resolution is convolved
    before it is resized, and one of higher resolution is folded into channels
    (:func:`scorekit.networks.spatial.embed_map`).

    Noise level, class and vector condition every block by one scale and shift per channel, equal at all spatial
    positions. ``grid`` adds spatially varying conditioning: scales and shifts of the first features on a coarse grid,
    linearly interpolated, from which for instance the typical spectrum of a class is learned early.
    ``conditioning_layers`` adds hidden layers in which noise level, class and vector interact.

    Parameters, norms, softmax and output are float32; ``dtype`` is that of the convolutions and of attention.

    Attributes:
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level, in the encoder and in the decoder each.
      attention_resolutions: heights (of signals: lengths) in patches at which attention follows each residual block.
      heads: number of attention heads.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.
      patch: side of the patches that are folded into the channels of the first level.
      factors: downsampling factor between consecutive levels; empty for 2 everywhere.
      grid: shape (H, W), of signals (L,), of the coarse grid of spatially varying conditioning; it spans ``x``
        of any size. Empty: conditioning does not vary in space.
      conditioning_layers: hidden layers after the sum of the embeddings of noise level, class and vector.
      filters: channels of the linear skip's own convolution; at least as many as a patch has values, so that the skip
        can represent the identity. 0: the skip starts at the first convolution.
      remat: recompute activations in the backward pass instead of storing them; on CPU, XLA stores them anyway.

    >>> network = UNet(channels=8, multipliers=(1, 2), attention_resolutions=(4,), num_classes=10)
    >>> x = jnp.ones((2, 8, 8, 1))
    >>> params = jax.jit(network.init)(jax.random.key(0), x, jnp.zeros(2))
    >>> jax.jit(network.apply)(params, x, jnp.zeros(2), jnp.array([3, 10])).shape
    (2, 8, 8, 1)
    """

    channels: int = 32
    multipliers: Sequence[int] = (1, 2)
    blocks: int = 1
    attention_resolutions: Sequence[int] = ()
    heads: int = 1
    num_classes: int | None = None
    vector_size: int | None = None
    map_shape: tuple[int, ...] | None = None
    dtype: DType = jnp.float32
    patch: int = 1
    factors: Sequence[int] = ()
    grid: Sequence[int] = ()
    conditioning_layers: int = 0
    filters: int = 0
    remat: bool = False
    spatial_axes: ClassVar[tuple[int, ...]] = (1, 2)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise: ArrayLike,
        labels: ArrayLike | None = None,
        vector: Any = None,
        dense_map: Any = None,
        scalars: ArrayLike | None = None,
    ) -> Array:
        """Evaluates the network. None for a condition means that it is absent for all examples.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; their sides divisible by the patch and all factors.
          noise: noise level, scalar or ``(B,)``; of order one (for example ``log_snr / 4``, clipped).
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`~scorekit.networks.conditioning.Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`~scorekit.networks.conditioning.Masked`, or None.
          scalars: further scalar conditions of order one, ``(B,)`` or ``(B, K)``, or None; see ``DiT``.

        Returns:
          float32, shaped like ``x``.

        Raises:
          ValueError: for an input or condition of the wrong shape or dtype, or an attribute out of range.
        """
        check_spatial_shape(self, x)
        check_count(0, filters=self.filters, conditioning_layers=self.conditioning_layers)
        x, batch, rank = jnp.asarray(x, jnp.float32), x.shape[0], x.ndim - 2
        sizes = self.num_classes, self.vector_size, self.conditioning_layers
        conditioning = Conditioning(4 * self.channels, *sizes, name="conditioning")
        given = as_masked("dense_map", dense_map, self.map_shape, batch)
        total = conditioning(noise, labels, batch, vector, scalars)
        x = space_to_depth(x, (self.patch,) * rank)
        h = nn.Conv(self.channels, (3,) * rank, dtype=self.dtype, name="input")(x)
        zeros = nn.initializers.zeros
        linear = nn.Conv(self.filters, (3,) * rank, use_bias=False, name="filters")(x) if self.filters else h
        factor = 1 + jnp.expand_dims(nn.Dense(linear.shape[-1], name="around_film")(total), range(1, 1 + rank))
        if given is not None:
            h = h + embed_map(self.channels, self.dtype, given, x.shape[1:-1])
        if self.grid:
            scale, shift = jnp.split(self.spatial_film(total, x.shape[1:-1]), 2, axis=-1)
            h = h * (1 + scale) + shift
        h, skips = encoder(self, h, total)
        widths = [self.channels * m for m in self.multipliers]
        for level, width in reversed(list(enumerate(widths))):
            for i in range(self.blocks):
                h = stage(self, jnp.concatenate([h, skips.pop()], -1), total, width, f"up{level}_{i}")
            if level:
                h = nn.Conv(widths[level - 1], (1,) * rank, dtype=self.dtype, name=f"up{level}_double")(h)
                for axis in range(1, rank + 1):
                    h = h.repeat(factors(self)[level - 1], axis=axis)
        h = nn.silu(GroupNorm(name="norm")(h))
        if self.filters:
            factor = factor + nn.Conv(self.filters, (1,) * rank, dtype=self.dtype, name="gains")(h)
        skip = nn.Conv(x.shape[-1], (1,) * rank, kernel_init=zeros, name="around")(linear * factor)
        h = skip + nn.Conv(x.shape[-1], (3,) * rank, kernel_init=zeros, name="output")(h)
        return depth_to_space(h, (self.patch,) * rank)

    def spatial_film(self, total: Array, shape: tuple[int, ...]) -> Array:
        """Scales and shifts ``(B, *shape, 2 channels)`` predicted from the conditions on the coarse grid."""
        if len(self.grid) != len(shape) or min(self.grid) < 1:
            raise ValueError(
                f"grid must hold {len(shape)} integers >= 1, one for each side of x, got {tuple(self.grid)}"
            )
        coarse = nn.Dense(GRID_CHANNELS * math.prod(self.grid), name="grid_film")(total)
        coarse = resize_linear(coarse.reshape(-1, *self.grid, GRID_CHANNELS), shape)
        return nn.Conv(2 * self.channels, (1,) * len(shape), dtype=self.dtype, name="grid")(coarse)


class Sizes(Protocol):
    """Attributes that :class:`UNet` and :class:`~scorekit.networks.classifier.Classifier` share."""

    channels: int
    multipliers: Sequence[int]
    blocks: int
    attention_resolutions: Sequence[int]
    heads: int
    dtype: DType
    patch: int
    factors: Sequence[int]
    remat: bool


def factors(sizes: Sizes) -> tuple[int, ...]:
    """The downsampling factors between consecutive levels."""
    return tuple(sizes.factors) or (2,) * (len(sizes.multipliers) - 1)


def stage(sizes: Sizes, h: Array, vector: Array, width: int, name: str) -> Array:
    """A residual block, then attention at the chosen resolutions; for use in a compact method."""
    block, attention = (nn.remat(ResidualBlock), nn.remat(Attention)) if sizes.remat else (ResidualBlock, Attention)
    h = block(width, sizes.dtype, name=f"{name}_block")(h, vector)
    if h.shape[1] in sizes.attention_resolutions:
        h = attention(sizes.heads, sizes.dtype, name=f"{name}_attention")(h)
    return h


def encoder(sizes: Sizes, h: Array, vector: Array) -> tuple[Array, list[Array]]:
    """The encoder, from the full resolution to the lowest, and the middle stage; returns the skip connections too."""
    skips = []
    for level, multiplier in enumerate(sizes.multipliers):
        width = sizes.channels * multiplier
        if level:
            factor = factors(sizes)[level - 1]
            side = (2 * factor - 1,) * (h.ndim - 2)
            h = nn.Conv(width, side, factor, dtype=sizes.dtype, name=f"down{level}_halve")(h)
        for i in range(sizes.blocks):
            h = stage(sizes, h, vector, width, f"down{level}_{i}")
            skips.append(h)
    return stage(sizes, h, vector, sizes.channels * sizes.multipliers[-1], "middle"), skips


def check_spatial_shape(sizes: Sizes, x: Array) -> None:
    """Raises ``ValueError`` if patch and factors do not divide ``x`` or no level has an attention resolution."""
    check_signal_or_image(x)
    check_count(channels=sizes.channels, heads=sizes.heads, patch=sizes.patch)
    check_count(0, blocks=sizes.blocks)
    for multiplier in sizes.multipliers:
        check_count(multipliers=multiplier)
    for factor in sizes.factors:
        check_count(factors=factor)
    steps = factors(sizes)
    if len(steps) != len(sizes.multipliers) - 1 or min((sizes.patch, *steps)) < 1:
        raise ValueError(
            f"patch must be at least 1 and factors must hold {len(sizes.multipliers) - 1} integers >= 1, one between "
            f"each two of the {len(sizes.multipliers)} levels, got {sizes.patch} and {tuple(sizes.factors)}"
        )
    total = sizes.patch * math.prod(steps)
    if any(side % total for side in x.shape[1:-1]):
        raise ValueError(
            f"x must have a {'height and width' if x.ndim == 4 else 'length'} divisible by {total} for "
            f"{len(sizes.multipliers)} levels, got {' x '.join(map(str, x.shape[1:-1]))}"
        )
    heights = [x.shape[1] // sizes.patch // math.prod(steps[:i]) for i in range(len(sizes.multipliers))]
    if not set(sizes.attention_resolutions) <= set(heights):
        raise ValueError(
            f"attention_resolutions must be among the heights {heights} of the levels, "
            f"got {tuple(sizes.attention_resolutions)}"
        )


class ResidualBlock(nn.Module):
    """``shortcut(x) + conv0(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift))``."""

    features: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array, vector: Array) -> Array:
        scale, shift = jnp.split(nn.Dense(2 * self.features, name="film")(vector), 2, axis=-1)
        h = nn.silu(GroupNorm(name="norm_1")(x))
        side = (3,) * (x.ndim - 2)
        h = nn.Conv(self.features, side, dtype=self.dtype, name="conv_1")(h)
        h = nn.silu(group_norm(h, 1 + scale, shift))
        zeros = nn.initializers.zeros
        h = nn.Conv(self.features, side, dtype=self.dtype, kernel_init=zeros, name="conv_2")(h)
        if x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1,) * len(side), dtype=self.dtype, name="shortcut")(x)
        return x.astype(h.dtype) + h


class Attention(nn.Module):
    """Self-attention over all spatial positions: ``x + dense0(softmax(q k / sqrt(d)) v)``, softmax in float32."""

    heads: int = 1
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, channels = x.shape[0], x.shape[-1]
        if channels % self.heads:
            raise ValueError(f"heads must divide the {channels} channels, got {self.heads}")
        h = GroupNorm(name="norm")(x).reshape(batch, -1, channels)
        h = nn.Dense(3 * channels, dtype=self.dtype, name="qkv")(h)
        h = h.reshape(batch, -1, 3, self.heads, channels // self.heads)
        h = jax.nn.dot_product_attention(h[:, :, 0], h[:, :, 1], h[:, :, 2]).reshape(x.shape)
        zeros = nn.initializers.zeros
        h = nn.Dense(channels, dtype=self.dtype, kernel_init=zeros, name="close")(h)
        return x.astype(h.dtype) + h


class GroupNorm(nn.Module):
    """:func:`group_norm` with a learned scale and shift per channel."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        features = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, features, jnp.float32)
        shift = self.param("shift", nn.initializers.zeros, features, jnp.float32)
        return group_norm(x, scale[None], shift[None])


def group_norm(x: Array, scale: Array, shift: Array) -> Array:
    """Group norm in float32 whose scale and shift may differ per example.

    Mean and variance of a group are combined with scale and shift into one factor and one offset per channel, so that
    ``x`` is read twice and written once.

    Args:
      x: ``(B, ..., C)``; the groups are of 8 channels where C allows it, otherwise of gcd(C, 8).
      scale: ``(B or 1, C)``.
      shift: ``(B or 1, C)``.

    Returns:
      float32, shaped like ``x``.
    """
    x = x.astype(jnp.float32)
    batch, channels = x.shape[0], x.shape[-1]
    axes = tuple(range(1, x.ndim - 1))
    size = math.gcd(channels, 8)

    def group_mean(value):
        grouped = value.mean(axes).reshape(batch, channels // size, size).mean(-1)
        return jnp.repeat(grouped, size, axis=-1)

    mean = group_mean(x)
    variance = jnp.maximum(group_mean(jnp.square(x)) - jnp.square(mean), 0)
    factor = jax.lax.rsqrt(variance + 1e-5) * scale
    return x * jnp.expand_dims(factor, axes) + jnp.expand_dims(shift - mean * factor, axes)
