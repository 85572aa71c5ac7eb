"""The U-Net of variational diffusion models: one resolution, many blocks, Fourier features of the input."""

import math
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check, check_count, check_positive
from scorekit.networks._conditions import as_masked
from scorekit.networks._spatial import DType, check_signal_or_image, embed_map
from scorekit.networks._unet_blocks import Attention
from scorekit.networks.embeddings import Conditioning, timestep_features
from scorekit.typing import Array, ArrayLike

__all__ = ["PRESETS", "VDMUNet"]

PRESETS: dict[str, dict[str, Any]] = {
    "cifar10": {"channels": 128, "depth": 32},
    "cifar10_augmented": {"channels": 256, "depth": 32, "block_attention": True},
    "imagenet32": {"channels": 256, "depth": 32},
    "imagenet64": {"channels": 256, "depth": 64},
}
"""The published sizes."""

_OCTAVES = (7, 8)
"""The exponents n of the Fourier features ``sin(2^n pi x)``, ``cos(2^n pi x)`` of the input."""


class VDMUNet(nn.Module):
    """U-Net of variational diffusion models (VDM), made for likelihoods: all of it is at the resolution of the input.

    ``depth`` residual blocks, two more with self-attention between them, and ``depth + 1`` blocks that take the outputs
    of the first convolution and the first blocks in reverse order. Sines and cosines of ``2^7 pi x`` and ``2^8 pi x``
    are channels beside ``x``: they resolve the steps of 8-bit values in [-1, 1], on which the likelihood of fine detail
    depends (``x`` in bfloat16 does not). With ``e`` the embedding of noise level, class and vector, a block computes::

        x + conv0(silu(norm(conv(silu(norm(x))) + dense0(e))))

    where ``conv0`` and ``dense0`` start at zero, as does the last convolution: at initialisation the output is exactly
    zero. The published network adds ``x`` to its output, has dropout, and no classes, vectors or maps.

    The noise level is normalised between its ends, ``t = (log_snr_max - noise_scale noise) / (log_snr_max -
    log_snr_min)``, and ``1000 t`` embedded by sines and cosines. With ``noise_scale=1`` the network may be called with
    the log-SNR itself. :func:`scorekit.schedules.learned` is a monotone schedule that starts between the same ends.

    Signals ``(B, L, C)`` are treated as images are. Parameters, norms, softmax and output are float32; ``dtype`` is
    that of the convolutions and of attention.

    Attributes:
      channels: channels of every block, even.
      depth: number of residual blocks on the way in.
      block_attention: self-attention after every block, not only in the middle.
      log_snr_max: log-SNR at t = 0, in nats.
      log_snr_min: log-SNR at t = 1, in nats, below ``log_snr_max``.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.
      noise_scale: the log-SNR over the noise level; the default is for ``log_snr / 4``.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).

    >>> import jax
    >>> network = VDMUNet(channels=8, depth=1, num_classes=10)
    >>> x = jnp.ones((2, 4, 4, 1))
    >>> params = jax.jit(network.init)(jax.random.key(0), x, jnp.zeros(2))
    >>> jax.jit(network.apply)(params, x, jnp.zeros(2), jnp.array([3, 10])).shape
    (2, 4, 4, 1)

    Source: Kingma et al. 2021, "Variational diffusion models" (https://arxiv.org/abs/2107.00630).
    """

    channels: int = 64
    depth: int = 8
    block_attention: bool = False
    log_snr_max: float = 13.3
    log_snr_min: float = -5.0
    num_classes: int | None = None
    vector_size: int | None = None
    map_shape: tuple[int, ...] | None = None
    dtype: DType = jnp.float32
    noise_scale: float = 4.0
    remat: bool = False
    spatial_axes: ClassVar[tuple[int, ...]] = (1, 2)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The network of a published size, with changed attributes.

        Args:
          name: one of ``PRESETS``.
          **changes: attributes.

        Returns:
          The network, without parameters.

        Raises:
          ValueError: for another name.

        >>> VDMUNet.preset("cifar10", num_classes=10).depth
        32
        """
        if name not in PRESETS:
            raise ValueError(f"name must be one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**{**PRESETS[name], **changes})

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """Evaluates the network. None for a condition means that it is absent for all examples.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``.
          noise: noise level, scalar or ``(B,)``: the log-SNR over ``noise_scale``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`~scorekit.networks.conditioning.Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`~scorekit.networks.conditioning.Masked`, or None.

        Returns:
          float32, shaped like ``x``.

        Raises:
          ValueError: for an input or condition of the wrong shape or dtype, or an attribute out of range.
        """
        self._check_sizes(x)
        x, batch, side = jnp.asarray(x, jnp.float32), x.shape[0], (3,) * (x.ndim - 2)
        conditioning = Conditioning(
            4 * self.channels, self.num_classes, self.vector_size, noise_features=self._embed, name="conditioning"
        )
        embedding = conditioning(noise, labels, batch, vector)
        given = as_masked("dense_map", dense_map, self.map_shape, batch)
        block, attention = (nn.remat(_Block), nn.remat(Attention)) if self.remat else (_Block, Attention)

        def stage(h, name, attend=self.block_attention):
            h = block(self.channels, self.dtype, name=f"{name}_block")(h, embedding)
            return attention(1, self.dtype, name=f"{name}_attention")(h) if attend else h

        h = nn.Conv(self.channels, side, dtype=self.dtype, name="input")(_with_fourier_features(x))
        if given is not None:
            h = h + embed_map(self.channels, self.dtype, given, x.shape[1:-1])
        skips = [h]
        for i in range(self.depth):
            h = stage(h, f"in_{i}")
            skips.append(h)
        h = stage(stage(h, "middle_0", attend=True), "middle_1", attend=False)
        for i in range(self.depth + 1):
            h = stage(jnp.concatenate([h, skips.pop()], axis=-1), f"out_{i}")
        h = nn.silu(_norm("norm", h))
        return nn.Conv(x.shape[-1], side, kernel_init=nn.initializers.zeros, name="output")(h)

    def _embed(self, noise: Array) -> Array:
        """Sines and cosines of the normalised noise level."""
        t = (self.log_snr_max - self.noise_scale * noise) / (self.log_snr_max - self.log_snr_min)
        return timestep_features(1000 * t, self.channels)

    def _check_sizes(self, x: Array) -> None:
        """Raises ``ValueError`` for an attribute out of range, or for ``x`` that is neither images nor signals."""
        check_signal_or_image(x)
        check_count(channels=self.channels, depth=self.depth)
        check(lambda n: n % 2 == 0, "even", channels=self.channels)
        check_positive(noise_scale=self.noise_scale)
        check(np.isfinite, "finite", log_snr_min=self.log_snr_min)
        above = lambda value: np.isfinite(value) & (value > self.log_snr_min)
        check(above, f"finite and > log_snr_min = {self.log_snr_min}", log_snr_max=self.log_snr_max)


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
    """``x`` with ``sin(2^n pi x)`` and ``cos(2^n pi x)``, n in :data:`_OCTAVES`, as further channels, float32.

    >>> np.asarray(_with_fourier_features(jnp.full((1, 1, 2), 2.0**-10)))[0, 0, ::2].round(3)
    array([0.001, 0.383, 0.707, 0.924, 0.707], dtype=float32)
    """
    angles = [math.pi * 2.0**n * x for n in _OCTAVES]
    return jnp.concatenate([x, *map(jnp.sin, angles), *map(jnp.cos, angles)], axis=-1)


def _norm(name: str, x: Array) -> Array:
    """Group norm of up to 32 groups, float32; for use in a compact method.

    Groups have four channels or more: a norm of single channels would remove the embedding that is added before it.
    """
    channels = x.shape[-1]
    return nn.GroupNorm(math.gcd(32, channels // math.gcd(4, channels)), dtype=jnp.float32, name=name)(x)
