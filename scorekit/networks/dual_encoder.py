"""Two encoders into one space: of pictures, and of captions that a frozen encoder of text has made vectors."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.checks import check_count, check_floating
from scorekit.networks._spatial import DType
from scorekit.networks._unet_blocks import check_spatial_shape, pooled
from scorekit.typing import Array

__all__ = ["DualEncoder"]

_LEAST_TEMPERATURE = 0.01


class DualEncoder(nn.Module):
    """Unit vectors of pictures and captions, for :func:`scorekit.losses.contrastive.contrastive_loss`.

    Of pictures the encoder of :class:`~scorekit.networks.unet.UNet`, a norm, global average pooling and a dense layer,
    as :class:`~scorekit.networks.classifier.Classifier`; of captions a linear map of the vector of a frozen encoder of
    text. Both results are divided by their norm. The temperature tau is a parameter ``log_temperature``, at first
    ``log 0.07``, and at least 0.01.

    Attributes:
      features: length D of an embedding.
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``.
      blocks: residual blocks per level.
      attention_resolutions: heights (of signals: lengths) in patches at which attention follows each residual block.
      heads: number of attention heads.
      dtype: dtype of the convolutions and of attention.
      patch: side of the patches that are folded into the channels of the first level.
      factors: downsampling factor between consecutive levels; empty for 2 everywhere.
      remat: recompute the activations of residual blocks and attention in the backward pass instead of storing them.

    >>> network = DualEncoder(features=4, channels=8, multipliers=(1,))
    >>> x, captions = jnp.ones((2, 8, 8, 3)), jnp.ones((2, 6))
    >>> params = jax.jit(network.init)(jax.random.key(0), x, captions)
    >>> pictures, texts, log_temperature = jax.jit(network.apply)(params, x, captions)
    >>> pictures.shape, texts.shape, round(float(jnp.exp(log_temperature)), 2)
    ((2, 4), (2, 4), 0.07)

    Source: Radford et al. 2021, "CLIP" (https://arxiv.org/abs/2103.00020), with a frozen encoder of text; Zhai et al.
    2022, "LiT" (https://arxiv.org/abs/2111.07991).
    """

    features: int = 64
    channels: int = 32
    multipliers: Sequence[int] = (1, 2, 4)
    blocks: int = 1
    attention_resolutions: Sequence[int] = ()
    heads: int = 1
    dtype: DType = jnp.float32
    patch: int = 1
    factors: Sequence[int] = ()
    remat: bool = False

    def setup(self) -> None:
        """The two encoders and the temperature."""
        sizes = {name: getattr(self, name) for name in _Pictures.__annotations__}
        self.picture = _Pictures(**sizes)
        self.caption = nn.Dense(self.features, use_bias=False)
        self.log_temperature = self.param("log_temperature", nn.initializers.constant(math.log(0.07)), (), jnp.float32)

    def __call__(self, x: Array, captions: Array) -> tuple[Array, Array, Array]:
        """Embeds pictures and captions.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; their sides divisible by the patch and all factors.
          captions: vectors of captions, ``(B', E)``.

        Returns:
          The embeddings of pictures and of captions, float32 ``(B, D)`` and ``(B', D)``, and the log-temperature.

        Raises:
          ValueError: for an input of the wrong shape or dtype, or an attribute out of range.
        """
        below = jnp.maximum(math.log(_LEAST_TEMPERATURE) - self.log_temperature, 0.0)
        log_temperature = self.log_temperature + jax.lax.stop_gradient(below)  # the gradient leads back above the least
        return self.embed_pictures(x), self.embed_captions(captions), log_temperature

    def embed_pictures(self, x: Array) -> Array:
        """Embeds pictures.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; their sides divisible by the patch and all factors.

        Returns:
          Of norm 1, float32 ``(B, D)``.

        Raises:
          ValueError: for an input of the wrong shape or dtype, or an attribute out of range.

        >>> network = DualEncoder(features=4, channels=8, multipliers=(1,))
        >>> shapes = network.init_with_output
        >>> key, x = jax.random.key(0), jnp.ones((2, 8, 8, 3))
        >>> jax.eval_shape(lambda: shapes(key, x, method="embed_pictures")[0]).shape
        (2, 4)
        """
        check_count(features=self.features)
        check_spatial_shape(self, x)
        return _normalised(self.picture(x))

    def embed_captions(self, captions: Array) -> Array:
        """Embeds captions.

        Args:
          captions: vectors of captions, ``(B, E)``.

        Returns:
          Of norm 1, float32 ``(B, D)``.

        Raises:
          ValueError: for an input of the wrong shape or dtype, or an attribute out of range.

        >>> network, captions = DualEncoder(features=4), jnp.ones((3, 6))
        >>> found, _ = network.init_with_output(jax.random.key(0), captions, method="embed_captions")
        >>> found.shape
        (3, 4)
        """
        check_count(features=self.features)
        check_floating(captions=captions)
        if captions.ndim != 2:
            raise ValueError(f"captions must have shape (B, E), got {captions.shape}")
        return _normalised(self.caption(jnp.asarray(captions, jnp.float32)))


class _Pictures(nn.Module):
    """The encoder of pictures, without the norm of the result."""

    features: int
    channels: int
    multipliers: Sequence[int]
    blocks: int
    attention_resolutions: Sequence[int]
    heads: int
    dtype: DType
    patch: int
    factors: Sequence[int]
    remat: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        constant = jnp.zeros((x.shape[0], 1))  # the blocks have no condition
        return nn.Dense(self.features, name="output")(pooled(self, x, constant))


def _normalised(x: Array) -> Array:
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-12))
