"""The U-Net of variational diffusion models: one resolution, many blocks, Fourier features of the input."""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import FiniteScalar, PositiveFloat, PositiveInt
from scorekit.networks._levels import u_net
from scorekit.networks._module import Conditioned, Published
from scorekit.networks._spatial import DType, add_map, check_signal_or_image
from scorekit.networks.embeddings import Conditioning, timestep_features
from scorekit.networks.unets._unet_blocks import Attention
from scorekit.typing import Array, ArrayLike

__all__ = ["PRESETS", "VDMUNet"]

PRESETS: dict[str, dict[str, Any]] = {
    "cifar10": {"channels": 128, "depth": 32},
    "cifar10_augmented": {"channels": 256, "depth": 32, "block_attention": True},
    "imagenet32": {"channels": 256, "depth": 32},
    "imagenet64": {"channels": 256, "depth": 64},
}
"""The published sizes."""

_OCTAVES = (7, 8)  # the exponents n of the Fourier features ``sin(2^n pi x)``, ``cos(2^n pi x)`` of the input


class VDMUNet(Conditioned, Published):
    """U-Net of variational diffusion models (VDM), made for likelihoods: all of it is at the resolution of the input.

    ``depth`` residual blocks, two more with self-attention between them, and ``depth + 1`` blocks that take the outputs
    of the first convolution and the first blocks in reverse order. Sines and cosines of ``2^7 pi x`` and ``2^8 pi x``
    are channels beside ``x``: they resolve the steps of 8-bit values in [-1, 1], on which the likelihood of fine detail
    depends (``x`` in bfloat16 does not). With ``e`` the embedding of noise level, class and vector, a block computes::

        x + conv0(silu(norm(conv(silu(norm(x))) + dense0(e))))

    where ``conv0`` and ``dense0`` start at zero, as does the last convolution. The published network adds ``x`` to its
    output, has dropout, and no classes, vectors or maps.

    The noise level is normalised between its ends, ``t = (log_snr_max - noise_scale noise) / (log_snr_max -
    log_snr_min)``, and ``1000 t`` embedded by sines and cosines. With ``noise_scale=1`` the network may be called with
    the log-SNR itself. :func:`scorekit.schedules.learned` is a monotone schedule that starts between the same ends.

    Attributes:
      channels: channels of every block, even.
      depth: number of residual blocks on the way in.
      block_attention: self-attention after every block, not only in the middle.
      log_snr_max: log-SNR at t = 0, in nats.
      log_snr_min: log-SNR at t = 1, in nats, below ``log_snr_max``.
      noise_scale: the log-SNR over the noise level; the default is for ``log_snr / 4``.

    Source: Kingma et al. 2021, "Variational diffusion models" (https://arxiv.org/abs/2107.00630).
    """

    channels: PositiveInt = 64
    depth: PositiveInt = 8
    block_attention: bool = False
    log_snr_max: FiniteScalar = 13.3
    log_snr_min: FiniteScalar = -5.0
    noise_scale: PositiveFloat = 4.0
    remat: bool = False
    presets: ClassVar = PRESETS
    spatial_axes: ClassVar[tuple[int, ...]] = (1, 2)

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """Evaluates the network on images or signals ``x`` at the noise level, the log-SNR over ``noise_scale``."""
        self._check_sizes(x)
        x, batch, side = jnp.asarray(x, jnp.float32), x.shape[0], (3,) * (x.ndim - 2)
        conditioning = Conditioning(
            4 * self.channels, self.num_classes, self.vector_size, noise_features=self._embed, name="conditioning"
        )
        embedding = conditioning(noise, labels, batch, vector)
        block, attention = (nn.remat(_Block), nn.remat(Attention)) if self.remat else (_Block, Attention)

        def stage(h: Array, name: str, attend: bool) -> Array:
            h = block(self.channels, self.dtype, name=f"{name}_block")(h, embedding)
            return attention(1, self.dtype, name=f"{name}_attention")(h) if attend else h

        h = nn.Conv(self.channels, side, dtype=self.dtype, name="input")(_with_fourier_features(x))
        h = add_map(h, dense_map, self.map_shape, self.dtype)
        middle = lambda h: stage(stage(h, "middle_0", True), "middle_1", False)
        name = {"down": "in", "up": "out"}
        numbered = lambda h, part, _, i: stage(h, f"{name[part]}_{i}", self.block_attention)
        h = u_net(h, 1, self.depth, numbered, middle, lambda h, *_: h)
        h = nn.silu(_norm("norm", h))
        return nn.Conv(x.shape[-1], side, kernel_init=nn.initializers.zeros, name="output")(h)

    def _embed(self, noise: Array) -> Array:
        t = (self.log_snr_max - self.noise_scale * noise) / (self.log_snr_max - self.log_snr_min)
        return timestep_features(1000 * t, self.channels)

    def _check_sizes(self, x: Array) -> None:
        check_signal_or_image(x)
        if self.channels % 2:
            raise ValueError(f"channels must be even, got {self.channels}")
        if self.log_snr_max <= self.log_snr_min:
            raise ValueError(f"log_snr_max must be > log_snr_min = {self.log_snr_min}, got {self.log_snr_max}")


class _Block(nn.Module):
    """A residual block of :class:`VDMUNet` at the embedding ``silu(e)`` of the conditions."""

    features: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array, embedding: Array) -> Array:
        zeros, side = nn.initializers.zeros, (3,) * (x.ndim - 2)
        added = nn.Dense(self.features, use_bias=False, kernel_init=zeros, name="condition")(embedding)
        h = nn.Conv(self.features, side, dtype=self.dtype, name="conv_1")(nn.silu(_norm("norm_1", x)))
        h = nn.silu(_norm("norm_2", h + jnp.expand_dims(added, range(1, x.ndim - 1))))
        h = nn.Conv(self.features, side, dtype=self.dtype, kernel_init=zeros, name="conv_2")(h)
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=self.dtype, name="shortcut")(x)
        return x.astype(h.dtype) + h


def _with_fourier_features(x: Array) -> Array:
    """``x`` with ``sin(2^n pi x)`` and ``cos(2^n pi x)``, n in :data:`_OCTAVES`, as further channels, float32."""
    angles = [math.pi * 2.0**n * x for n in _OCTAVES]
    return jnp.concatenate([x, *map(jnp.sin, angles), *map(jnp.cos, angles)], axis=-1)


def _norm(name: str, x: Array) -> Array:
    """Group norm of up to 32 groups, float32; for use in a compact method.

    Groups have four channels or more: a norm of single channels would remove the embedding that is added before it.
    """
    channels = x.shape[-1]
    return nn.GroupNorm(math.gcd(32, channels // math.gcd(4, channels)), dtype=jnp.float32, name=name)(x)
