"""Building blocks of the residual U-Net, which the autoencoders of latent diffusion share; for images and signals."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from scorekit.networks._spatial import DType
from scorekit.networks._tokens import Context, TokenAttention
from scorekit.networks.attention import Attention as Implementation
from scorekit.networks.attention import attend
from scorekit.typing import Array


class Norm(NamedTuple):
    """Group norm with a scale and a shift per channel, in float32: ``norm(x, name)`` in a compact method.

    Attributes:
      groups: number of groups, which divides the channels; fewer where a group would have too few channels.
      channels: least channels of a group.
      epsilon: number added to the variances.
    """

    groups: int
    channels: int = 1
    epsilon: float = 1e-6

    def __call__(self, x: Array, name: str) -> Array:
        width = x.shape[-1]
        groups = max(1, min(self.groups, width // self.channels))
        if width % groups:
            raise ValueError(f"groups must divide the {width} channels of a norm, got {groups}")
        norm = nn.GroupNorm(groups, epsilon=self.epsilon, use_fast_variance=False, name=name)
        return norm(x.astype(jnp.float32))


def initialiser(scale: float) -> Any:
    """Uniform of variance ``scale`` over the mean of fan-in and fan-out; zeros for 0, where DDPM's code has 1e-10."""
    return nn.initializers.variance_scaling(scale, "fan_avg", "uniform") if scale else nn.initializers.zeros


class ResidualBlock(nn.Module):
    """``shortcut(x) + conv(dropout(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift)))``, with scale and shift a
    projection of the condition; ``last_scale`` is of the variance with which the last convolution starts.

    With ``film="shift"`` the projection is added before the second norm instead, and with "zero_shift" it also starts
    at zero and has no bias. With ``resample`` "down" or "up" the resolution changes before the first convolution: means
    of 2 x 2, or repetition.
    """

    features: int
    norm: Norm
    dtype: DType = jnp.float32
    dropout: float = 0.0
    last_scale: float = 1.0
    film: str = "scale_shift"
    resample: str = ""

    @nn.compact
    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        scale, shift = 0.0, 0.0
        h = nn.silu(self.norm(x, "norm_1"))
        if self.resample:
            change = _halved if self.resample == "down" else _doubled
            x, h = change(x), change(h)
        h = conv(h, self.features, self.dtype, "conv_1")
        if condition is not None:
            start = initialiser(0.0 if self.film == "zero_shift" else 1.0)
            features = 2 * self.features if self.film == "scale_shift" else self.features
            film = nn.Dense(features, self.film != "zero_shift", kernel_init=start, name="film")(condition)
            film = jnp.expand_dims(film, range(1, x.ndim - 1))
            if self.film == "scale_shift":
                scale, shift = jnp.split(film, 2, axis=-1)
            else:
                h = h + film
        h = nn.silu(self.norm(h, "norm_2") * (1 + scale) + shift)
        h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
        h = conv(h, self.features, self.dtype, "conv_2", self.last_scale)
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=self.dtype, kernel_init=initialiser(1.0), name="shortcut")(x)
        return x.astype(h.dtype) + h


class Attention(nn.Module):
    """Self-attention over all spatial positions: ``x + dense(softmax(q k / sqrt(d)) v)``; ``last_scale`` is a factor of
    the variance with which the last projection starts. Without a norm it attends to ``x`` as it is."""

    norm: Norm | None
    dtype: DType = jnp.float32
    last_scale: float = 1.0
    heads: int = 1
    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, channels = x.shape[0], x.shape[-1]
        h = x if self.norm is None else self.norm(x, "norm")
        dense = lambda features, name, scale: nn.Dense(
            features, dtype=self.dtype, kernel_init=initialiser(scale), name=name
        )
        h = dense(3 * channels, "qkv", 2.0)(h.reshape(batch, -1, channels))  # 2.0: as three layers with 1.0
        h = h.reshape(batch, -1, 3, self.heads, channels // self.heads)
        h = attend(h[:, :, 0], h[:, :, 1], h[:, :, 2], self.implementation).reshape(x.shape)
        h = dense(channels, "proj", self.last_scale)(h)
        return x.astype(h.dtype) + h


class SpatialTransformer(nn.Module):
    """``x + dense(blocks(dense(norm(x))))`` over all spatial positions, where each of ``depth`` blocks adds
    self-attention, attention to tokens and a gated perceptron to its input, each behind a layer norm.

    The last layer of each starts at zero, and so does the last projection.
    """

    norm: Norm
    heads: int
    depth: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Context) -> Array:
        batch, channels = x.shape[0], x.shape[-1]

        def dense(features: int, name: str, scale: float) -> nn.Dense:
            return nn.Dense(features, dtype=self.dtype, kernel_init=initialiser(scale), name=name)

        layer_norm = lambda h, name: nn.LayerNorm(1e-5, use_fast_variance=False, dtype=jnp.float32, name=name)(h)
        attention = lambda name: TokenAttention(self.heads, self.dtype, bias=False, name=name)
        h = dense(channels, "in", 1.0)(self.norm(x, "norm").reshape(batch, -1, channels))
        for i in range(self.depth):
            y = layer_norm(h, f"norm_{i}_0")
            h = h + attention(f"attention_{i}")(y, (y, None))
            h = h + attention(f"tokens_{i}")(layer_norm(h, f"norm_{i}_1"), context)
            y, gate = jnp.split(dense(8 * channels, f"gated_{i}", 1.0)(layer_norm(h, f"norm_{i}_2")), 2, axis=-1)
            h = h + dense(channels, f"close_{i}", 0.0)(y * nn.gelu(gate, approximate=False))
        h = dense(channels, "out", 0.0)(h)
        return x.astype(h.dtype) + h.reshape(x.shape)


def conv(h: Array, features: int, dtype: DType, name: str, scale: float = 1.0) -> Array:
    """A convolution with kernels of side 3 that keeps the resolution; in a compact method."""
    return nn.Conv(features, (3,) * (h.ndim - 2), dtype=dtype, kernel_init=initialiser(scale), name=name)(h)


def downsample(h: Array, dtype: DType, name: str, symmetric: bool = False) -> Array:
    """Half the resolution, by a strided convolution padded at the far ends alone or at both; in a compact method."""
    rank, features = h.ndim - 2, h.shape[-1]
    padding = [(int(symmetric), 1)] * rank
    return nn.Conv(features, (3,) * rank, 2, padding, dtype=dtype, kernel_init=initialiser(1.0), name=name)(h)


def upsample(h: Array, dtype: DType, name: str) -> Array:
    """Twice the resolution, by nearest-neighbour repetition and a convolution; in a compact method."""
    return conv(_doubled(h), h.shape[-1], dtype, name)


def _doubled(h: Array) -> Array:
    for axis in range(1, h.ndim - 1):
        h = h.repeat(2, axis=axis)
    return h


def _halved(h: Array) -> Array:
    window = (2,) * (h.ndim - 2)
    return nn.avg_pool(h, window, window)
