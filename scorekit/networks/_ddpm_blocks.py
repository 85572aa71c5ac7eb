"""Building blocks of the DDPM U-Net, which the autoencoders of latent diffusion share; for images and signals."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from scorekit.networks._spatial import DType
from scorekit.networks.attention import attend
from scorekit.typing import Array

EPSILON = 1e-6
"""Added to the variances of group norms."""


def initialiser(scale: float) -> Any:
    """Uniform of variance ``scale`` over the mean of fan-in and fan-out; zeros for 0, where DDPM's code has 1e-10."""
    return nn.initializers.variance_scaling(scale, "fan_avg", "uniform") if scale else nn.initializers.zeros


class ResidualBlock(nn.Module):
    """``shortcut(x) + conv(dropout(silu(norm(conv(silu(norm(x))) + dense(condition)))))``; ``last_scale`` is of
    the variance with which the last convolution starts."""

    features: int
    groups: int
    dtype: DType = jnp.float32
    dropout: float = 0.0
    last_scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        side = (3,) * (x.ndim - 2)
        h = nn.silu(group_norm(x, self.groups, "norm_1"))
        h = conv(self.features, side, self.dtype, "conv_1")(h)
        if condition is not None:
            shift = nn.Dense(self.features, kernel_init=initialiser(1.0), name="condition")(condition)
            h = h + jnp.expand_dims(shift, range(1, x.ndim - 1))
        h = nn.silu(group_norm(h, self.groups, "norm_2"))
        h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
        h = conv(self.features, side, self.dtype, "conv_2", self.last_scale)(h)
        if x.shape[-1] != self.features:
            x = conv(self.features, (1,) * len(side), self.dtype, "shortcut")(x)
        return x.astype(h.dtype) + h


class Attention(nn.Module):
    """Self-attention with one head over all spatial positions: ``x + dense(softmax(q k / sqrt(C)) v)``;
    ``last_scale`` is a factor of the variance with which the last projection starts."""

    groups: int
    dtype: DType = jnp.float32
    last_scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, channels = x.shape[0], x.shape[-1]
        dense = lambda name, scale=1.0: nn.Dense(channels, dtype=self.dtype, kernel_init=initialiser(scale), name=name)
        h = group_norm(x, self.groups, "norm").reshape(batch, -1, channels)
        query, key, value = (dense(name)(h)[:, :, None] for name in ("query", "key", "value"))
        h = dense("out", self.last_scale)(attend(query, key, value)[:, :, 0])
        return x.astype(h.dtype) + h.reshape(x.shape)


def conv(features: int, side: tuple[int, ...], dtype: DType, name: str, scale: float = 1.0) -> nn.Conv:
    """A convolution that keeps the resolution; for use in a compact method."""
    return nn.Conv(features, side, dtype=dtype, kernel_init=initialiser(scale), name=name)


def downsample(h: Array, dtype: DType, name: str) -> Array:
    """Half the resolution, by a strided convolution that is padded at the far ends alone; in a compact method."""
    rank, features = h.ndim - 2, h.shape[-1]
    padding = [(0, 1)] * rank
    return nn.Conv(features, (3,) * rank, 2, padding, dtype=dtype, kernel_init=initialiser(1.0), name=name)(h)


def upsample(h: Array, dtype: DType, name: str) -> Array:
    """Twice the resolution, by nearest-neighbour repetition and a convolution; in a compact method."""
    rank, features = h.ndim - 2, h.shape[-1]
    for axis in range(1, rank + 1):
        h = h.repeat(2, axis=axis)
    return conv(features, (3,) * rank, dtype, name)(h)


def group_norm(x: Array, groups: int, name: str) -> Array:
    """Group norm with a scale and a shift per channel, in float32; in a compact method."""
    norm = nn.GroupNorm(groups, epsilon=EPSILON, use_fast_variance=False, name=name)
    return norm(x.astype(jnp.float32))


def check_groups(channels: int, multipliers: Sequence[int], groups: int) -> None:
    """Raises ``ValueError`` unless the groups divide the channels of every level."""
    for width in (channels * multiplier for multiplier in multipliers):
        if width % groups:
            raise ValueError(f"groups must divide the {width} channels of a level, got {groups}")
