"""The residual blocks of DDPM++ and NCSN++, and their attention."""

import math

import flax.linen as nn
import jax.numpy as jnp

from scorekit.networks._spatial import DType
from scorekit.networks.attention import attend
from scorekit.networks.unets._resampling import downsample, upsample
from scorekit.typing import Array

XAVIER, ZEROS = nn.initializers.xavier_uniform(), nn.initializers.zeros
HALF = math.sqrt(0.5)
"""Factor of a sum of two, which keeps its variance."""


class Block(nn.Module):
    """A residual block, up, down or at the same resolution, and self-attention where asked; its equation is that of
    :class:`~scorekit.networks.SongUNet`."""

    features: int
    taps: tuple[float, ...]
    resample: str
    attention: bool
    dropout: float
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array, s: Array) -> Array:
        h = nn.silu(norm(x, "norm_1")).astype(self.dtype)
        if self.resample:
            change = {"up": upsample, "down": downsample}[self.resample]
            h, x = change(h, self.taps), change(x, self.taps)
        h = nn.Conv(self.features, (3, 3), dtype=self.dtype, kernel_init=XAVIER, name="conv_1")(h)
        h = h + dense(self.features, "noise", dtype=self.dtype)(s)[:, None, None]
        h = nn.silu(norm(h, "norm_2"))
        h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
        h = nn.Conv(self.features, (3, 3), dtype=self.dtype, kernel_init=ZEROS, name="conv_2")(h)
        if self.resample or x.shape[-1] != self.features:
            x = dense(self.features, "shortcut", dtype=self.dtype)(x)
        x = (x.astype(h.dtype) + h) * HALF
        return Attention(self.dtype, name="attention")(x) if self.attention else x


class Attention(nn.Module):
    """Self-attention with one head over all positions: ``(x + dense0(softmax(q k / sqrt(C)) v)) / sqrt(2)``."""

    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, *_, channels = x.shape
        small = nn.initializers.variance_scaling(0.2, "fan_avg", "uniform")
        qkv = nn.Dense(3 * channels, dtype=self.dtype, kernel_init=small, name="qkv")(norm(x, "norm"))
        qkv = qkv.reshape(batch, -1, 3, 1, channels)
        h = attend(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]).reshape(x.shape)
        h = nn.Dense(channels, dtype=self.dtype, kernel_init=ZEROS, name="proj")(h)
        return (x.astype(h.dtype) + h) * HALF


def dense(features: int, name: str, *, use_bias: bool = True, dtype: DType = jnp.float32) -> nn.Dense:
    """A dense layer with Xavier's initialisation."""
    return nn.Dense(features, use_bias=use_bias, dtype=dtype, kernel_init=XAVIER, name=name)


def norm(x: Array, name: str) -> Array:
    """Group norm in float32, of at least 4 channels a group and at most 32 groups; for use in a compact method."""
    groups = min(32, x.shape[-1] // 4)
    if not groups or x.shape[-1] % groups:
        raise ValueError(
            f"channels must give every level a multiple of 4 channels, of 32 above 128, got a block of {x.shape[-1]}"
        )
    return nn.GroupNorm(groups, epsilon=1e-6, dtype=jnp.float32, name=name)(x)
