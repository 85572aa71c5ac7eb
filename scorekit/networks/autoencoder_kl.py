"""The autoencoder of latent diffusion, whose published weights many models of latents are trained with."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check, check_count, check_floating, check_like, check_positive
from scorekit.networks._ddpm_blocks import (
    Attention,
    ResidualBlock,
    check_sides,
    check_widths,
    conv,
    downsample,
    group_norm,
    upsample,
)
from scorekit.networks._spatial import DType, check_signal_or_image
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

    >>> posterior = Posterior(mean=jnp.ones((1, 2, 2, 1)), log_variance=jnp.zeros((1, 2, 2, 1)))
    >>> posterior.sample(jnp.ones((1, 2, 2, 1))).mean()
    Array(2., dtype=float32)
    """

    mean: Array
    log_variance: Array

    def sample(self, eps: Array) -> Array:
        """A sample, ``mean + exp(log_variance / 2) eps``.

        Args:
          eps: standard normal, shaped like the mean.

        Returns:
          Shaped like the mean.

        Raises:
          ValueError: if ``eps`` is not shaped like the mean.
        """
        check_like("mean", self.mean, eps=eps)
        return self.mean + jnp.exp(0.5 * self.log_variance) * jnp.asarray(eps, self.mean.dtype)

    def kl(self) -> Array:
        """``KL(N(mean, exp(log_variance)) | N(0, 1))`` in nats per latent value, averaged over each example.

        Returns:
          ``(B,)``.

        >>> Posterior(jnp.ones((1, 2, 2, 1)), jnp.zeros((1, 2, 2, 1))).kl()
        Array([0.5], dtype=float32)
        """
        axes = tuple(range(1, self.mean.ndim))
        return 0.5 * jnp.mean(self.mean**2 + jnp.expm1(self.log_variance) - self.log_variance, axis=axes)


class AutoencoderKL(nn.Module):
    """The variational autoencoder of latent diffusion models (Stable Diffusion's VAE), for images and signals.

    Images ``(B, H, W, C)`` in [-1, 1] become latents ``(B, H / stride, W / stride, latent_channels)`` with ``stride =
    2 ** (levels - 1)``. The encoder gives mean and log-variance of each latent value, and :meth:`encode` the mean or a
    sample, scaled to what a model of latents is trained on::

        z = (mean + exp(log_variance / 2) eps - shift_factor) scaling_factor

    which :meth:`decode` undoes first. The levels have residual blocks with group norms, one more of them in the
    decoder; a strided convolution, padded at the far ends alone, downsamples, and nearest-neighbour repetition before a
    convolution upsamples. The lowest level ends, in the decoder begins, with self-attention between two blocks.

    It is used like :class:`~scorekit.networks.autoencoder.Autoencoder`; its latent is continuous, without codes.
    Parameters, norms, softmax, latent and output are float32; ``dtype`` is that of convolutions and projections.

    Attributes:
      data_channels: channels C of the data.
      latent_channels: channels of the latent.
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``.
      blocks: residual blocks per level of the encoder; the decoder has one more.
      groups: groups of the norms.
      quant_convs: whether pointwise convolutions follow the encoder and precede the decoder.
      scaling_factor: factor of the latent, > 0; a number, or one for each channel.
      shift_factor: what is subtracted from the latent before it is scaled, likewise.
      dtype: dtype of the computation.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).

    >>> import jax
    >>> network = AutoencoderKL(channels=4, multipliers=(1, 2), blocks=1, groups=2, scaling_factor=0.5)
    >>> x = jnp.ones((2, 8, 8, 3))
    >>> params = jax.jit(network.init)(jax.random.key(0), x)
    >>> posterior = jax.jit(lambda x: network.apply(params, x, method=network.posterior))(x)
    >>> z = network.scale(posterior.mean)  # or, of x: network.apply(params, x, method=network.encode)
    >>> y = jax.jit(lambda z: network.apply(params, network.quantise(z), method=network.decode))(z)
    >>> z.shape, y.shape
    ((2, 4, 4, 4), (2, 8, 8, 3))
    >>> network = AutoencoderKL.preset("sdxl", dtype=jnp.bfloat16)
    >>> network.latent_shape((1024, 1024, 3)), network.scaling_factor
    ((128, 128, 4), 0.13025)

    Source: Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models" (arXiv:2112.10752).
    """

    data_channels: int = 3
    latent_channels: int = 4
    channels: int = 128
    multipliers: Sequence[int] = (1, 2, 4, 4)
    blocks: int = 2
    groups: int = 32
    quant_convs: bool = True
    scaling_factor: float | Sequence[float] = 1.0
    shift_factor: float | Sequence[float] = 0.0
    dtype: DType = jnp.float32
    remat: bool = False
    codes: ClassVar[None] = None

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A published network: one of :data:`PRESETS`, with attributes changed.

        Args:
          name: of the network.
          **changes: attributes with other values.

        Returns:
          The network, without parameters.

        Raises:
          ValueError: for another name.
        """
        if name not in PRESETS:
            raise ValueError(f"name must be one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**{**PRESETS[name], **changes})

    def setup(self):
        check_count(data_channels=self.data_channels, latent_channels=self.latent_channels)
        check_widths(self.channels, self.multipliers, self.blocks, self.groups)
        check_positive(scaling_factor=np.asarray(self.scaling_factor))
        check(np.isfinite, "finite", shift_factor=np.asarray(self.shift_factor))
        for name in ("scaling_factor", "shift_factor"):
            shape = np.shape(getattr(self, name))
            if shape not in ((), (self.latent_channels,)):
                raise ValueError(f"{name} must be a number or {self.latent_channels} numbers, got shape {shape}")
        widths = tuple(self.channels * m for m in self.multipliers)
        sizes = widths, self.blocks, self.groups, self.dtype, self.remat
        self.encoder = _Encoder(*sizes, features=2 * self.latent_channels)
        self.decoder = _Decoder(*sizes, features=self.data_channels)
        if self.quant_convs:
            self.quant = nn.Dense(2 * self.latent_channels)
            self.post_quant = nn.Dense(self.latent_channels)

    @property
    def stride(self) -> int:
        """Pixels along each side per latent position."""
        return 2 ** (len(self.multipliers) - 1)

    def latent_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the latent of one example of this shape.

        Args:
          shape: ``(H, W, C)`` or ``(L, C)``.

        Returns:
          ``(H / stride, W / stride, latent_channels)`` or ``(L / stride, latent_channels)``.

        Raises:
          ValueError: if the stride does not divide the sides.
        """
        sides = tuple(shape)[:-1]
        check_sides(sides, self.stride)
        return (*(side // self.stride for side in sides), self.latent_channels)

    def __call__(self, x: Array) -> Array:
        """The reconstruction ``decode(encode(x))``."""
        return self.decode(self.encode(x))

    def posterior(self, x: Array) -> Posterior:
        """Mean and log-variance, clipped to [-30, 20], of the unscaled latent; float32.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``.

        Returns:
          A :class:`Posterior` of arrays ``(B, *latent_shape)``.

        Raises:
          ValueError: if ``x`` is neither, has a different number of channels, or sides that the stride does not divide.
        """
        check_signal_or_image(x)
        self.latent_shape(x.shape[1:])
        if x.shape[-1] != self.data_channels:
            raise ValueError(f"x must have {self.data_channels} channels, got shape {x.shape}")
        h = self.encoder(jnp.asarray(x, jnp.float32))
        mean, log_variance = jnp.split(self.quant(h) if self.quant_convs else h, 2, axis=-1)
        return Posterior(mean, jnp.clip(log_variance, *_LOG_VARIANCE))

    def encode(self, x: Array, eps: Array | None = None) -> Array:
        """Encodes images or signals, as :meth:`posterior` takes them, to scaled latents; float32.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``.
          eps: standard normal, shaped like the latent, for a sample of the posterior; None for its mean.

        Returns:
          The latent, float32 ``(B, *latent_shape)``.
        """
        posterior = self.posterior(x)
        return self.scale(posterior.mean if eps is None else posterior.sample(eps))

    def decode(self, z: Array) -> Array:
        """Decodes scaled latents to data.

        Args:
          z: latents ``(B, *latent_shape)`` as :meth:`encode` gives them.

        Returns:
          Images ``(B, H, W, C)`` or signals ``(B, L, C)``, float32.

        Raises:
          ValueError: if ``z`` is not a floating latent of this network.
        """
        check_floating(z=z)
        if z.ndim not in (3, 4) or z.shape[-1] != self.latent_channels:
            raise ValueError(f"z must have shape (B, ..., {self.latent_channels}) with 1 or 2 sides, got {z.shape}")
        factor, shift = self._scale_and_shift()
        z = jnp.asarray(z, jnp.float32) / factor + shift
        return self.decoder(self.post_quant(z) if self.quant_convs else z)

    def scale(self, z: Array) -> Array:
        """``(z - shift_factor) scaling_factor``: from values of the posterior to those of :meth:`encode`.

        Args:
          z: unscaled latents ``(B, ..., latent_channels)``.

        Returns:
          Scaled ones of the same shape, float32.
        """
        factor, shift = self._scale_and_shift()
        return (z - shift) * factor

    def _scale_and_shift(self) -> tuple[Array, Array]:
        return jnp.asarray(self.scaling_factor, jnp.float32), jnp.asarray(self.shift_factor, jnp.float32)

    def quantise(self, z: Array) -> Array:
        """The identity: there are no codes.

        Args:
          z: latents.

        Returns:
          ``z``.
        """
        return z


class _Encoder(nn.Module):
    """From data to the moments of the latent; ``widths`` are the channels of the levels."""

    widths: Sequence[int]
    blocks: int
    groups: int
    dtype: DType
    remat: bool
    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        side = (3,) * (x.ndim - 2)
        h = conv(self.widths[0], side, self.dtype, "input")(x)
        for level, width in enumerate(self.widths):
            if level:
                h = downsample(h, self.dtype, f"down_{level}")
            for i in range(self.blocks):
                h = block(width, self.groups, self.dtype, name=f"level_{level}_{i}")(h)
        h = _middle(block, h, self.groups, self.dtype)
        return conv(self.features, side, jnp.float32, "output")(nn.silu(group_norm(h, self.groups, "norm")))


class _Decoder(nn.Module):
    """From the latent to data; ``widths`` are the channels of the levels, highest resolution first."""

    widths: Sequence[int]
    blocks: int
    groups: int
    dtype: DType
    remat: bool
    features: int

    @nn.compact
    def __call__(self, z: Array) -> Array:
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        side = (3,) * (z.ndim - 2)
        h = conv(self.widths[-1], side, self.dtype, "input")(z)
        h = _middle(block, h, self.groups, self.dtype)
        for level, width in reversed(list(enumerate(self.widths))):
            for i in range(self.blocks + 1):
                h = block(width, self.groups, self.dtype, name=f"level_{level}_{i}")(h)
            if level:
                h = upsample(h, self.dtype, f"up_{level}")
        return conv(self.features, side, jnp.float32, "output")(nn.silu(group_norm(h, self.groups, "norm")))


def _middle(block: Any, h: Array, groups: int, dtype: DType) -> Array:
    """A residual block, attention and another block; in a compact method."""
    h = block(h.shape[-1], groups, dtype, name="middle_0")(h)
    h = Attention(groups, dtype, name="middle_attention")(h)
    return block(h.shape[-1], groups, dtype, name="middle_1")(h)
