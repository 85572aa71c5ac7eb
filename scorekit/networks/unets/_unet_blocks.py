"""The encoder, the blocks and the norm of the U-Net, of the classifier and of the encoder of pictures."""

import math
from collections.abc import Sequence
from typing import Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.networks._levels import check_heights, descend
from scorekit.networks._spatial import DType, check_signal_or_image, space_to_depth
from scorekit.networks._tokens import Context, TokenAttention
from scorekit.networks.attention import Attention as Implementation
from scorekit.networks.attention import attend
from scorekit.typing import Array


class Sizes(Protocol):
    """Attributes that :class:`~scorekit.networks.UNet`, :class:`~scorekit.networks.Classifier` and
    :class:`~scorekit.networks.DualEncoder` share."""

    channels: int
    multipliers: Sequence[int]
    blocks: int
    attention_resolutions: Sequence[int]
    heads: int
    dtype: DType
    patch: int
    factors: Sequence[int]
    remat: bool
    attention: Implementation


def factors(sizes: Sizes) -> tuple[int, ...]:
    """The downsampling factors between consecutive levels."""
    return tuple(sizes.factors) or (2,) * (len(sizes.multipliers) - 1)


def stage(
    sizes: Sizes, h: Array, vector: Array, width: int, name: str, context: Context | None = None, attends: bool = False
) -> Array:
    """A residual block, then at the chosen resolutions attention, on itself and on tokens; for a compact method.

    With ``attends`` tokens are attended to at this resolution in any case.
    """
    block, attention = (nn.remat(ResidualBlock), nn.remat(Attention)) if sizes.remat else (ResidualBlock, Attention)
    h = block(width, sizes.dtype, name=f"{name}_block")(h, vector)
    chosen = h.shape[1] in sizes.attention_resolutions
    if chosen:
        h = attention(sizes.heads, sizes.dtype, sizes.attention, name=f"{name}_attention")(h)
    if context is not None and (chosen or attends):
        y = GroupNorm(name=f"{name}_tokens_norm")(h)
        token_attention = nn.remat(TokenAttention) if sizes.remat else TokenAttention
        h = h + token_attention(sizes.heads, sizes.dtype, name=f"{name}_tokens")(y, context)
    return h


def encoder(
    sizes: Sizes, h: Array, vector: Array, context: Context | None = None, token_levels: Sequence[int] = ()
) -> tuple[Array, list[Array]]:
    """The encoder, from the full resolution to the lowest, and the middle stage; returns the skip connections too."""
    skips, last = [], len(sizes.multipliers) - 1

    def block(h: Array, level: int, i: int) -> Array:
        width, attends = sizes.channels * sizes.multipliers[level], level in token_levels
        skips.append(stage(sizes, h, vector, width, f"down{level}_{i}", context, attends))
        return skips[-1]

    def halve(h: Array, level: int) -> Array:
        width, factor = sizes.channels * sizes.multipliers[level], factors(sizes)[level - 1]
        side = (2 * factor - 1,) * (h.ndim - 2)
        return nn.Conv(width, side, factor, dtype=sizes.dtype, name=f"down{level}_halve")(h)

    h, _ = descend(h, last + 1, sizes.blocks, block, halve)
    width = sizes.channels * sizes.multipliers[-1]
    return stage(sizes, h, vector, width, "middle", context, last in token_levels), skips


def pooled(sizes: Sizes, x: Array, vector: Array) -> Array:
    """The encoder from ``x`` on, a norm and the mean over all positions: ``(B, C)``; for a compact method."""
    x, rank = jnp.asarray(x, jnp.float32), x.ndim - 2
    x = space_to_depth(x, (sizes.patch,) * rank)
    h = nn.Conv(sizes.channels, (3,) * rank, dtype=sizes.dtype, name="input")(x)
    h, _ = encoder(sizes, h, vector)
    return nn.silu(GroupNorm(name="norm")(h)).mean(range(1, 1 + rank))


def check_spatial_shape(sizes: Sizes, x: Array) -> None:
    """Raises ``ValueError`` if patch and factors do not divide ``x`` or no level has an attention resolution."""
    check_signal_or_image(x)
    steps = factors(sizes)
    if len(steps) != len(sizes.multipliers) - 1:
        raise ValueError(
            f"factors must hold {len(sizes.multipliers) - 1} integers >= 1, one between each two of the "
            f"{len(sizes.multipliers)} levels, got {tuple(sizes.factors)}"
        )
    check_heights(x, sizes.patch, steps, sizes.attention_resolutions)


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
    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, channels = x.shape[0], x.shape[-1]
        if channels % self.heads:
            raise ValueError(f"heads must divide the {channels} channels, got {self.heads}")
        h = GroupNorm(name="norm")(x).reshape(batch, -1, channels)
        h = nn.Dense(3 * channels, dtype=self.dtype, name="qkv")(h)
        h = h.reshape(batch, -1, 3, self.heads, channels // self.heads)
        h = attend(h[:, :, 0], h[:, :, 1], h[:, :, 2], self.implementation).reshape(x.shape)
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
    """Group norm in float32 of ``(B, ..., C)`` whose scale and shift, ``(B or 1, C)``, may differ per example.

    The groups are of 8 channels where C allows it, otherwise of gcd(C, 8). Mean and variance of a group are combined
    with scale and shift into one factor and one offset per channel, so that ``x`` is read twice and written once.
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
