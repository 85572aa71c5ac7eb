"""A convolutional autoencoder of images and signals: the first stage of a latent diffusion model."""

import itertools
import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import NonNegativeInt, Positive, PositiveInt, checked
from scorekit.checks import check_floating
from scorekit.networks._levels import ascend, descend
from scorekit.networks._module import Sizes, SomeSizes
from scorekit.networks._spatial import DType, depth_to_space, space_to_depth
from scorekit.networks.autoencoders._code_levels import CodedNetwork
from scorekit.typing import Array


class Autoencoder(CodedNetwork):
    """A deterministic convolutional encoder and decoder; the latent has few channels at a fraction of the resolution.

    Signals ``(B, L, C)`` become ``(B, L / stride, latent_channels)`` and images likewise along both sides, with
    ``stride = patch * product of factors``. Patches are folded into channels; each level has residual blocks,
    ``x + conv(silu(conv(silu(norm(x)))))``; between levels a strided convolution downsamples, and a convolution before
    the inverse of folding patches upsamples.

    Norms are taken over the channels of one spatial position, so that all operations are local: the network is
    equivariant to shifts by ``stride``, away from the ends, and an autoencoder that was trained on short crops encodes
    and decodes long signals.

    With ``codes``, the parameters include a codebook, ``params["params"]["codebook"]``, and :meth:`quantise` replaces
    latent vectors by their nearest codes. The latent has unit scale if the training loss asks for it:
    :func:`fixed_noise_kl`, or the losses of the codebook (:mod:`scorekit.networks.codebooks`).

    With ``levels``, the codes form a hierarchy, coarsest first, and ``params["params"]["codebook"]`` is ``(M, K, D)``.
    Equal levels in a row quantise the residual of the one before. A level that differs has networks of its own: its
    vectors are a function of the latent and of the values ``h_k`` of the coarser levels, and an upsampling network adds
    them to these: ``q = code(down(z, h_k))``, ``h_{k+1} = h_k + up(q)``. The first levels alone can be decoded.

    Attributes:
      codes: number of codes; None: no codebook.
      levels: positions of the latent per code of each level of codes, along each side; each is a multiple of the next
        one, the last is 1. ``(1, 1)`` is residual quantisation, ``(4, 1)`` has a coarse level at a quarter of the rate.
      data_channels: channels C of the data.
      latent_channels: channels of the latent.
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level, in the encoder and in the decoder.
      patch: side of the patches that are folded into channels.
      factors: downsampling factor between consecutive levels; empty for 2 everywhere.
      dtype: dtype of the computation.

    >>> import jax
    >>> network = Autoencoder(latent_channels=3, channels=8, multipliers=(1, 2), patch=4)
    >>> params = jax.jit(network.init)(jax.random.key(0), jnp.ones((1, 32, 1)))
    >>> z = jax.jit(lambda x: network.apply(params, x, method=network.encode))(jnp.ones((2, 64, 1)))
    >>> y = jax.jit(lambda z: network.apply(params, z, method=network.decode))(z)
    >>> network.latent_shape((64, 1)), z.shape, y.shape
    ((8, 3), (2, 8, 3), (2, 64, 1))

    >>> network = network.clone(codes=16, levels=(2, 1))
    >>> params = jax.jit(network.init)(jax.random.key(0), jnp.ones((1, 32, 1)))
    >>> coarse, fine = network.apply(params, jnp.ones((2, 8, 3)), method="code_levels")
    >>> coarse.index.shape, fine.index.shape, network.apply(params, [coarse.index], method="from_codes").shape
    ((2, 4), (2, 8), (2, 8, 3))

    Source: Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models" (arXiv:2112.10752),
    where norms are taken over the image and the variance of the posterior is learned; Razavi, van den Oord and Vinyals
    2019, "Generating diverse high-fidelity images with VQ-VAE-2" (arXiv:1906.00446).
    """

    data_channels: PositiveInt = 1
    latent_channels: PositiveInt = 4
    channels: PositiveInt = 32
    multipliers: SomeSizes = (1, 2)
    blocks: NonNegativeInt = 1
    patch: PositiveInt = 1
    factors: Sizes = ()
    codes: PositiveInt | None = None
    levels: SomeSizes = (1,)
    dtype: DType = jnp.float32

    def setup(self):
        sizes = (tuple(self.channels * m for m in self.multipliers), self.blocks, self.patch, self.steps, self.dtype)
        self.encoder = _Encoder(*sizes, features=self.latent_channels)
        self.decoder = _Decoder(*sizes, features=self.data_channels)
        if self.codes is not None:
            shape = (len(self.levels), self.codes, self.latent_channels)[len(self.levels) == 1 :]
            self.codebook = self.param("codebook", nn.initializers.normal(1.0), shape, jnp.float32)
            self.down, self.up = (
                [self._between(half, factor) for factor, _ in itertools.groupby(self.levels)] for half in _HALVES
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """The downsampling factors between consecutive levels."""
        return tuple(self.factors) or (2,) * (len(self.multipliers) - 1)

    @property
    def stride(self) -> int:
        """Samples, or pixels along each side, per latent position."""
        return self.patch * math.prod(self.steps)

    def encode(self, x: Array) -> Array:
        """Latents, float32 ``(B, *latent_shape)``.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; the stride divides their sides.
        """
        if len(self.steps) != len(self.multipliers) - 1:
            number = len(self.multipliers) - 1
            raise ValueError(f"factors must hold {number} integers >= 1, got {tuple(self.factors)}")
        return self.encoder(self._checked_data(x))

    def decode(self, z: Array) -> Array:
        """Decodes a latent to data: images ``(B, H, W, C)`` or signals ``(B, L, C)``, float32.

        Args:
          z: latents ``(B, *latent_shape)``.
        """
        return self.decoder(self._checked_latent(z))

    def __call__(self, x: Array) -> Array:
        """The reconstruction ``decode(encode(x))``, without quantisation."""
        z = self.encode(x)
        if self.is_initializing() and self.codes is not None:
            self.code_levels(z)
        return self.decode(z)

    def _scales(self):
        books = self.codebook.reshape(len(self.levels), self.codes, self.latent_channels)
        ends = itertools.accumulate(len(list(equal)) for _, equal in itertools.groupby(self.levels))
        return zip(jnp.split(books, list(ends)[:-1]), self.down, self.up, strict=True)

    def _between(self, half: "type[_Half]", factor: int) -> "_Half | None":
        """From the latent to the vectors of a level, or back; None is the identity."""
        if factor == 1 and (half is _Decoder or set(self.levels) == {1}):
            return None
        steps = (factor,) * (factor > 1)
        widths = (self.channels * self.multipliers[-1],) * (1 + len(steps))
        return half(widths, self.blocks, 1, steps, self.dtype, features=self.latent_channels)


class _Half(nn.Module):
    """An encoder or decoder. ``widths`` are the channels of the levels, ``steps`` the factors between them."""

    widths: Sequence[int]
    blocks: int
    patch: int
    steps: Sequence[int]
    dtype: DType
    features: int

    def _block(self, h: Array, level: int, i: int) -> Array:
        return _Block(self.dtype, name=f"level_{level}_{i}")(h)


class _Encoder(_Half):
    """From data to latent."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        rank = x.ndim - 2
        conv = lambda features, side, name, strides=1: nn.Conv(
            features, (side,) * rank, strides, dtype=self.dtype, name=name
        )
        h = conv(self.widths[0], 3, "input")(space_to_depth(x, (self.patch,) * rank))

        def halve(h: Array, level: int) -> Array:
            step = self.steps[level - 1]
            return conv(self.widths[level], 2 * step - 1, f"down_{level}", step)(h)

        h, _ = descend(h, len(self.widths), self.blocks, self._block, halve)
        return _close(h, self.features, "latent")


class _Decoder(_Half):
    """From latent to data: the mirror image of :class:`_Encoder`."""

    @nn.compact
    def __call__(self, z: Array) -> Array:
        rank = z.ndim - 2
        conv = lambda features, side, name: nn.Conv(features, (side,) * rank, dtype=self.dtype, name=name)
        h = conv(self.widths[-1], 3, "input")(z)

        def double(h: Array, level: int) -> Array:
            step, below = self.steps[level - 1], self.widths[level - 1]
            return depth_to_space(conv(below * step**rank, 3, f"up_{level}")(h), (step,) * rank)

        h = ascend(h, len(self.widths), self.blocks, self._block, double)
        return depth_to_space(_close(h, self.features * self.patch**rank, "data"), (self.patch,) * rank)


_HALVES = (_Encoder, _Decoder)


class _Block(nn.Module):
    """``x + conv(silu(conv(silu(norm(x)))))``, the norm over the channels of each position."""

    dtype: DType

    @nn.compact
    def __call__(self, x: Array) -> Array:
        side, features = (3,) * (x.ndim - 2), x.shape[-1]
        h = nn.silu(nn.RMSNorm(name="norm")(x.astype(jnp.float32)))
        h = nn.silu(nn.Conv(features, side, dtype=self.dtype, name="conv_1")(h))
        return x + nn.Conv(features, side, dtype=self.dtype, name="conv_2")(h)


def _close(h: Array, features: int, name: str) -> Array:
    """The last norm and convolution, in float32; for use in a compact method."""
    h = nn.silu(nn.RMSNorm(name="norm")(h.astype(jnp.float32)))
    return nn.Conv(features, (3,) * (h.ndim - 2), name=name)(h)


@checked
def fixed_noise_kl(z: Array, noise: Positive[float]) -> Array:
    """``KL(N(z, noise^2) | N(0, 1))`` in nats per latent value, averaged over each example.

    ``(z^2 + noise^2 - 1) / 2 - log(noise)``. A decoder that is trained on ``z + noise * eps`` and an encoder that is
    trained with this penalty are a variational autoencoder whose posterior has a fixed standard deviation: the latent
    gets unit scale and is smooth at the scale of the noise, and encoding stays deterministic.

    Args:
      z: latents ``(B, ...)``.
      noise: standard deviation.

    >>> round(float(fixed_noise_kl(jnp.zeros((1, 4)), 1.0)[0]), 4)
    0.0

    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes" (https://arxiv.org/abs/1312.6114), with a fixed
    deviation.
    """
    check_floating(z=z)
    if jnp.ndim(z) < 2:
        raise ValueError(f"z must have shape (B, ...), got {jnp.shape(z)}")
    z = jnp.asarray(z)
    return 0.5 * jnp.mean(z**2, axis=tuple(range(1, z.ndim))) + 0.5 * (noise**2 - 1.0) - math.log(noise)
