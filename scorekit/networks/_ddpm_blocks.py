"""Building blocks of the DDPM U-Net, which the autoencoders of latent diffusion share; for images and signals."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from scorekit.networks._spatial import DType
from scorekit.networks._tokens import Context, TokenAttention
from scorekit.networks.attention import attend
from scorekit.typing import Array

EPSILON = 1e-6
"""Added to the variances of group norms, unless another number is given."""


def initialiser(scale: float) -> Any:
    """Uniform of variance ``scale`` over the mean of fan-in and fan-out; zeros for 0, where DDPM's code has 1e-10."""
    return nn.initializers.variance_scaling(scale, "fan_avg", "uniform") if scale else nn.initializers.zeros


class ResidualBlock(nn.Module):
    """``shortcut(x) + conv(dropout(silu(norm(conv(silu(norm(x))) + dense(condition)))))``; ``last_scale`` is of
    the variance with which the last convolution starts.

    With ``scale_shift`` the condition scales and shifts the second norm instead, ``norm(h) (1 + scale) + shift``. With
    ``resample`` "down" or "up" the resolution changes before the first convolution: means of 2 x 2, or repetition.
    """

    features: int
    groups: int
    dtype: DType = jnp.float32
    dropout: float = 0.0
    last_scale: float = 1.0
    epsilon: float = EPSILON
    scale_shift: bool = False
    resample: str = ""

    @nn.compact
    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        side, scale, shift = (3,) * (x.ndim - 2), 0.0, 0.0
        h = nn.silu(group_norm(x, self.groups, "norm_1", self.epsilon))
        if self.resample:
            change = _halved if self.resample == "down" else _doubled
            x, h = change(x), change(h)
        h = conv(self.features, side, self.dtype, "conv_1")(h)
        if condition is not None:
            features = 2 * self.features if self.scale_shift else self.features
            shift = nn.Dense(features, kernel_init=initialiser(1.0), name="condition")(condition)
            scale, shift = jnp.split(jnp.expand_dims(shift, range(1, x.ndim - 1)), (features - self.features,), axis=-1)
            h = h if self.scale_shift else h + shift
        h = group_norm(h, self.groups, "norm_2", self.epsilon)
        h = nn.silu(h * (1 + scale) + shift if self.scale_shift else h)
        h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
        h = conv(self.features, side, self.dtype, "conv_2", self.last_scale)(h)
        if x.shape[-1] != self.features:
            x = conv(self.features, (1,) * len(side), self.dtype, "shortcut")(x)
        return x.astype(h.dtype) + h


class Attention(nn.Module):
    """Self-attention over all spatial positions: ``x + dense(softmax(q k / sqrt(d)) v)``; ``last_scale`` is a factor of
    the variance with which the last projection starts. Without groups there is no norm before it."""

    groups: int | None
    dtype: DType = jnp.float32
    last_scale: float = 1.0
    heads: int = 1
    epsilon: float = EPSILON

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, channels = x.shape[0], x.shape[-1]
        dense = lambda name, scale=1.0: nn.Dense(channels, dtype=self.dtype, kernel_init=initialiser(scale), name=name)
        h = x if self.groups is None else group_norm(x, self.groups, "norm", self.epsilon)
        h, split = h.reshape(batch, -1, channels), (batch, -1, self.heads, channels // self.heads)
        query, key, value = (dense(name)(h).reshape(split) for name in ("query", "key", "value"))
        h = dense("out", self.last_scale)(attend(query, key, value).reshape(h.shape))
        return x.astype(h.dtype) + h.reshape(x.shape)


class SpatialTransformer(nn.Module):
    """``x + dense(blocks(dense(norm(x))))`` over all spatial positions, where each of ``depth`` blocks adds
    self-attention, attention to tokens and a gated perceptron to its input, each behind a layer norm.

    The last layer of each starts at zero, and so does the last projection.
    """

    groups: int
    heads: int
    depth: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Context) -> Array:
        batch, channels = x.shape[0], x.shape[-1]

        def dense(features: int, name: str, scale: float) -> nn.Dense:
            return nn.Dense(features, dtype=self.dtype, kernel_init=initialiser(scale), name=name)

        norm = lambda h, name: nn.LayerNorm(1e-5, use_fast_variance=False, dtype=jnp.float32, name=name)(h)
        attention = lambda name: TokenAttention(self.heads, self.dtype, bias=False, name=name)
        h = dense(channels, "in", 1.0)(group_norm(x, self.groups, "norm").reshape(batch, -1, channels))
        for i in range(self.depth):
            y = norm(h, f"norm_{i}_0")
            h = h + attention(f"attention_{i}")(y, (y, None))
            h = h + attention(f"tokens_{i}")(norm(h, f"norm_{i}_1"), context)
            y, gate = jnp.split(dense(8 * channels, f"gated_{i}", 1.0)(norm(h, f"norm_{i}_2")), 2, axis=-1)
            h = h + dense(channels, f"close_{i}", 0.0)(y * nn.gelu(gate, approximate=False))
        h = dense(channels, "out", 0.0)(h)
        return x.astype(h.dtype) + h.reshape(x.shape)


def conv(features: int, side: tuple[int, ...], dtype: DType, name: str, scale: float = 1.0) -> nn.Conv:
    """A convolution that keeps the resolution; for use in a compact method."""
    return nn.Conv(features, side, dtype=dtype, kernel_init=initialiser(scale), name=name)


def downsample(h: Array, dtype: DType, name: str, symmetric: bool = False) -> Array:
    """Half the resolution, by a strided convolution padded at the far ends alone or at both; in a compact method."""
    rank, features = h.ndim - 2, h.shape[-1]
    padding = [(int(symmetric), 1)] * rank
    return nn.Conv(features, (3,) * rank, 2, padding, dtype=dtype, kernel_init=initialiser(1.0), name=name)(h)


def upsample(h: Array, dtype: DType, name: str) -> Array:
    """Twice the resolution, by nearest-neighbour repetition and a convolution; in a compact method."""
    return conv(h.shape[-1], (3,) * (h.ndim - 2), dtype, name)(_doubled(h))


def _doubled(h: Array) -> Array:
    for axis in range(1, h.ndim - 1):
        h = h.repeat(2, axis=axis)
    return h


def _halved(h: Array) -> Array:
    window = (2,) * (h.ndim - 2)
    return nn.avg_pool(h, window, window)


def group_norm(x: Array, groups: int, name: str, epsilon: float = EPSILON) -> Array:
    """Group norm with a scale and a shift per channel, in float32; in a compact method."""
    norm = nn.GroupNorm(groups, epsilon=epsilon, use_fast_variance=False, name=name)
    return norm(x.astype(jnp.float32))


def check_groups(channels: int, multipliers: Sequence[int], groups: int) -> None:
    """Raises ``ValueError`` unless the groups divide the channels of every level."""
    for width in (channels * multiplier for multiplier in multipliers):
        if width % groups:
            raise ValueError(f"groups must divide the {width} channels of a level, got {groups}")
