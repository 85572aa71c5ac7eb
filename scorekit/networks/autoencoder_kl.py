"""The autoencoder of latent diffusion, whose published weights many models of latents are trained with.

>>> import jax
>>> network = AutoencoderKL(channels=4, multipliers=(1, 2), blocks=1, groups=2, scaling_factor=0.5)
>>> x = jnp.ones((2, 8, 8, 3))
>>> params = jax.jit(network.init)(jax.random.key(0), x)
>>> posterior = Posterior(*jax.jit(lambda x: network.apply(params, x, method=network.posterior))(x))
>>> z = network.scale(posterior.sample(jnp.zeros((2, 4, 4, 4))))  # or, of x: network.apply(…, method=network.encode)
>>> y = jax.jit(lambda z: network.apply(params, network.quantise(z), method=network.decode))(z)
>>> z.shape, y.shape, posterior.kl().shape
((2, 4, 4, 4), (2, 8, 8, 3), (2,))
>>> network = AutoencoderKL.preset("sdxl", dtype=jnp.bfloat16)
>>> network.latent_shape((1024, 1024, 3)), network.scaling_factor
((128, 128, 4), 0.13025)

Source: Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models" (arXiv:2112.10752).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Finite, NonNegativeInt, Positive, PositiveInt
from scorekit.checks import check_like
from scorekit.networks._levels import LatentNetwork, ascend, descend
from scorekit.networks._module import Published, SomeSizes
from scorekit.networks._residual_blocks import Attention, Norm, ResidualBlock, conv, downsample, upsample
from scorekit.networks._spatial import DType
from scorekit.typing import Array

__all__ = ["PRESETS", "AutoencoderKL", "Posterior"]

PRESETS: dict[str, dict[str, Any]] = {
    "sd-vae-ft": {"scaling_factor": 0.18215},
    "sdxl": {"scaling_factor": 0.13025},
    "sd3": {"latent_channels": 16, "scaling_factor": 1.5305, "shift_factor": 0.0609, "quant_convs": False},
    "flux": {"latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159, "quant_convs": False},
}
"""Published networks, all of three data channels: sizes that differ from the defaults, and the scale of the latent."""

_LOG_VARIANCE = (-30.0, 20.0)


class Posterior(NamedTuple):
    """A Gaussian for each latent value, ``N(mean, exp(log_variance))``, before the latent is scaled.

    Attributes:
      mean: ``(B, ..., latent_channels)``.
      log_variance: likewise.
    """

    mean: Array
    log_variance: Array

    def sample(self, eps: Array) -> Array:
        """A sample, ``mean + exp(log_variance / 2) eps``, with ``eps`` standard normal and shaped like the mean.

        Args:
          eps: standard normal.
        """
        check_like("mean", self.mean, eps=eps)
        return self.mean + jnp.exp(0.5 * self.log_variance) * jnp.asarray(eps, self.mean.dtype)

    def kl(self) -> Array:
        """``KL(N(mean, exp(log_variance)) | N(0, 1))`` in nats per latent value, a mean for each example, ``(B,)``."""
        axes = tuple(range(1, self.mean.ndim))
        return 0.5 * jnp.mean(self.mean**2 + jnp.expm1(self.log_variance) - self.log_variance, axis=axes)


class AutoencoderKL(LatentNetwork, Published):
    """The variational autoencoder of latent diffusion models (Stable Diffusion's VAE), for images and signals.

    It is used like :class:`~scorekit.networks.Autoencoder`; its latent is continuous, without codes. Images ``(B, H, W,
    C)`` in [-1, 1] become latents ``(B, H / stride, W / stride, latent_channels)`` with ``stride = 2 ** (levels - 1)``.
    The encoder gives mean and log-variance of each latent value, and :meth:`encode` the mean or a sample, scaled for
    training a model of latents::

        z = (mean + exp(log_variance / 2) eps - shift_factor) scaling_factor

    which :meth:`decode` undoes first. The levels have residual blocks with group norms, one more of them in the
    decoder; a strided convolution, padded at the far ends alone, downsamples, and nearest-neighbour repetition before a
    convolution upsamples. The lowest level ends, in the decoder begins, with self-attention between two blocks.

    Attributes:
      data_channels: channels C of the data.
      latent_channels: channels of the latent.
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level of the encoder; the decoder has one more.
      groups: groups of the norms, fewer where there are fewer channels.
      quant_convs: whether pointwise convolutions follow the encoder and precede the decoder.
      middle_attention: whether the lowest level has attention.
      scaling_factor: factor of the latent, > 0; a number, or one for each channel.
      shift_factor: value subtracted from the latent before it is scaled, likewise.
      dtype: dtype of the computation.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
    """

    data_channels: PositiveInt = 3
    latent_channels: PositiveInt = 4
    channels: PositiveInt = 128
    multipliers: SomeSizes = (1, 2, 4, 4)
    blocks: NonNegativeInt = 2
    groups: PositiveInt = 32
    quant_convs: bool = True
    middle_attention: bool = True
    scaling_factor: Positive[float | Sequence[float]] = 1.0
    shift_factor: Finite[float | Sequence[float]] = 0.0
    dtype: DType = jnp.float32
    remat: bool = False
    codes: ClassVar[None] = None
    presets: ClassVar = PRESETS

    def setup(self):
        for name in ("scaling_factor", "shift_factor"):
            shape = np.shape(getattr(self, name))
            if shape not in ((), (self.latent_channels,)):
                raise ValueError(f"{name} must be a number or {self.latent_channels} numbers, got shape {shape}")
        widths = tuple(self.channels * m for m in self.multipliers)
        sizes = widths, self.blocks, Norm(self.groups), self.dtype, self.remat, self.middle_attention
        self.encoder = _Encoder(*sizes, features=2 * self.latent_channels)
        self.decoder = _Decoder(*sizes, features=self.data_channels)
        if self.quant_convs:
            self.quant = nn.Dense(2 * self.latent_channels)
            self.post_quant = nn.Dense(self.latent_channels)

    @property
    def stride(self) -> int:
        """Pixels along each side per latent position."""
        return 2 ** (len(self.multipliers) - 1)

    def posterior(self, x: Array) -> Posterior:
        """Mean and log-variance, clipped to [-30, 20], of the unscaled latent: float32 ``(B, *latent_shape)`` each.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; the stride divides their sides.
        """
        h = self.encoder(self._checked_data(x))
        mean, log_variance = jnp.split(self.quant(h) if self.quant_convs else h, 2, axis=-1)
        return Posterior(mean, jnp.clip(log_variance, *_LOG_VARIANCE))

    def encode(self, x: Array, eps: Array | None = None) -> Array:
        """Scaled latents, float32 ``(B, *latent_shape)``.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; the stride divides their sides.
          eps: standard normal, shaped like the latent, for a sample of the posterior; None for its mean.
        """
        posterior = self.posterior(x)
        return self.scale(posterior.mean if eps is None else posterior.sample(eps))

    def decode(self, z: Array) -> Array:
        """Decodes scaled latents to data: images ``(B, H, W, C)`` or signals ``(B, L, C)``, float32.

        Args:
          z: scaled latents ``(B, *latent_shape)``.
        """
        factor, shift = self._scale_and_shift()
        z = self._checked_latent(z) / factor + shift
        return self.decoder(self.post_quant(z) if self.quant_convs else z)

    def scale(self, z: Array) -> Array:
        """``(z - shift_factor) scaling_factor``: from values of the posterior to values of :meth:`encode`, float32.

        Args:
          z: latents of the posterior, ``(B, *latent_shape)``.
        """
        factor, shift = self._scale_and_shift()
        return (z - shift) * factor

    def _scale_and_shift(self) -> tuple[Array, Array]:
        return jnp.asarray(self.scaling_factor, jnp.float32), jnp.asarray(self.shift_factor, jnp.float32)

    def quantise(self, z: Array) -> Array:
        """The identity: there are no codes.

        Args:
          z: latents.
        """
        return z


class _Half(nn.Module):
    """An encoder or decoder; ``widths`` are the channels of the levels, highest resolution first."""

    widths: Sequence[int]
    blocks: int
    norm: Norm
    dtype: DType
    remat: bool
    attention: bool
    features: int

    def _residual(self, h: Array, name: str, width: int) -> Array:
        kind = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        return kind(width, self.norm, self.dtype, name=name)(h)

    def _block(self, h: Array, level: int, i: int) -> Array:
        return self._residual(h, f"level_{level}_{i}", self.widths[level])

    def _middle(self, h: Array) -> Array:
        """A residual block, attention, if it has that, and another block."""
        h = self._residual(h, "middle_0", h.shape[-1])
        if self.attention:
            h = Attention(self.norm, self.dtype, name="middle_attention")(h)
        return self._residual(h, "middle_1", h.shape[-1])

    def _input(self, x: Array, width: int) -> Array:
        return conv(x, width, self.dtype, "input")

    def _output(self, h: Array) -> Array:
        return conv(nn.silu(self.norm(h, "norm")), self.features, jnp.float32, "output")


class _Encoder(_Half):
    """From data to the moments of the latent."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        halve = lambda h, level: downsample(h, self.dtype, f"down_{level}")
        h, _ = descend(self._input(x, self.widths[0]), len(self.widths), self.blocks, self._block, halve)
        return self._output(self._middle(h))


class _Decoder(_Half):
    """From the latent to data."""

    @nn.compact
    def __call__(self, z: Array) -> Array:
        double = lambda h, level: upsample(h, self.dtype, f"up_{level}")
        h = self._middle(self._input(z, self.widths[-1]))
        return self._output(ascend(h, len(self.widths), self.blocks + 1, self._block, double))
