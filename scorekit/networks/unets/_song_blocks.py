"""The residual blocks of DDPM++ and NCSN++, their attention, and their resampling with short filters (FIR).

The one-dimensional filter ``f`` is normalised and applied along both axes; beyond the edges, images are zero.
``(1, 1)`` gives the mean of 2 x 2 pixels and nearest-neighbour repetition; ``(1, 3, 3, 1)`` is smoother.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax

from scorekit.networks._spatial import DType
from scorekit.networks.attention import attend
from scorekit.typing import Array


def check_filter(taps: Sequence[float]) -> None:
    """Raises ``ValueError`` unless ``taps`` has an even number of values, none of them NaN, and a positive sum."""
    if len(taps) < 2 or len(taps) % 2 or not 0 < float(np.sum(taps)) < np.inf:
        raise ValueError(f"resample_filter must be an even number of values with a positive sum, got {tuple(taps)}")


def downsample(x: Array, taps: Sequence[float]) -> Array:
    """Half the resolution, ``(B, H, W, C)`` to ``(B, H / 2, W / 2, C)`` in the dtype of ``x``:
    ``y[i] = sum_k f[k] x[2 i + k + 1 - r]`` along both axes, for 2 r taps.
    """
    for axis in (1, 2):
        x = _filtered(_padded(x, axis, len(taps) // 2 - 1), taps, axis, stride=2)
    return x


def upsample(x: Array, taps: Sequence[float]) -> Array:
    """Twice the resolution, the transpose of :func:`downsample` times 4: ``y[j] = 2 sum_i f[j + r - 1 - 2 i] x[i]``
    along both axes, for 2 r taps; ``(B, 2 H, 2 W, C)`` in the dtype of ``x``.
    """
    half, weights = len(taps) // 2, _weights(taps)
    for axis in (1, 2):
        padded, size = _padded(x, axis, half // 2), x.shape[axis]
        phases = []
        for phase in (0, 1):  # of the position j = 2 m + phase; the pixel i is m + shift
            shifts = {k: divmod(phase + half - 1 - k, 2) for k in range(len(taps))}
            terms = [
                2 * weights[k] * lax.slice_in_dim(padded, half // 2 + shift, half // 2 + shift + size, axis=axis)
                for k, (shift, odd) in shifts.items()
                if not odd
            ]
            phases.append(sum(terms[1:], terms[0]))
        shape = (*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
        x = jnp.stack(phases, axis=axis + 1).reshape(shape)
    return x


class DownsamplingConv(nn.Module):
    """A 3 x 3 convolution and :func:`downsample` in one: the filter, then the convolution with stride 2.

    Only ``x`` is padded, by zeros; the published networks convolve first, which gives the same.
    """

    features: int
    taps: Sequence[float]
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for axis in (1, 2):
            x = _filtered(_padded(x, axis, len(self.taps) // 2), self.taps, axis)
        init = nn.initializers.xavier_uniform()
        return nn.Conv(self.features, (3, 3), 2, "VALID", dtype=self.dtype, kernel_init=init, name="conv")(x)


def _weights(taps: Sequence[float]) -> list[float]:
    return (np.asarray(taps, float) / np.sum(taps)).tolist()


def _padded(x: Array, axis: int, size: int) -> Array:
    return jnp.pad(x, [(size, size) if a == axis else (0, 0) for a in range(x.ndim)])


def _filtered(x: Array, taps: Sequence[float], axis: int, stride: int = 1) -> Array:
    """``y[i] = sum_k f[k] x[stride i + k]`` along an axis, where all of the filter is within ``x``."""
    last = x.shape[axis] - len(taps)
    terms = [w * lax.slice_in_dim(x, k, k + last + 1, stride, axis) for k, w in enumerate(_weights(taps))]
    return sum(terms[1:], terms[0])


XAVIER, ZEROS = nn.initializers.xavier_uniform(), nn.initializers.zeros
HALF = math.sqrt(0.5)
"""Factor of a sum of two, which keeps its variance."""


class Block(nn.Module):
    """A residual block, up, down or at the same resolution, and optional self-attention; for its equation see
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
