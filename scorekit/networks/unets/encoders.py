"""Networks that are the encoder of a U-Net: a classifier of noisy data, and two encoders into one space.

>>> x, captions = jnp.ones((2, 8, 8, 3)), jnp.ones((2, 6))
>>> jax.jit(Classifier(num_classes=10, channels=8).init_with_output)(jax.random.key(0), x, jnp.zeros(2))[0].shape
(2, 10)
>>> network = DualEncoder(features=4, channels=8, multipliers=(1,))
>>> params = jax.jit(network.init)(jax.random.key(0), x, captions)
>>> pictures, texts, log_temperature = jax.jit(network.apply)(params, x, captions)
>>> pictures.shape, texts.shape, round(float(jnp.exp(log_temperature)), 2)
((2, 4), (2, 4), 0.07)
>>> network.apply(params, captions, method=network.embed_captions).shape
(2, 4)
>>> jax.eval_shape(lambda: network.apply(params, x, method=network.embed_pictures)).shape
(2, 4)
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.arguments import NonNegativeInt, PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._module import Module, Sizes, SomeSizes
from scorekit.networks._spatial import DType
from scorekit.networks.attention import Attention
from scorekit.networks.embeddings import Conditioning
from scorekit.networks.unets._unet_blocks import check_spatial_shape, pooled
from scorekit.typing import Array, ArrayLike


class Classifier(Module):
    """``(x_t, noise) -> logits`` of ``p(y | x_t)`` at every noise level.

    The encoder of :class:`~scorekit.networks.UNet`, a norm, global average pooling, and a dense layer that starts
    at zero: at initialisation all classes are equally likely.

    Attributes:
      num_classes: number of classes K.
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level.
      attention_resolutions: heights (of signals: lengths) in patches at which attention follows each residual block.
      heads: number of attention heads.
      dtype: dtype of the computation.
      patch: side of the patches that are folded into channels.
      factors: downsampling factor between consecutive levels; empty for 2 everywhere.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      attention: ``"xla"`` or ``"fused"``, see :func:`scorekit.networks.attention.attend`.

    Source: Dhariwal & Nichol 2021 (https://arxiv.org/abs/2105.05233), with mean instead of attention pooling.
    """

    num_classes: PositiveInt
    channels: PositiveInt = 32
    multipliers: SomeSizes = (1, 2)
    blocks: NonNegativeInt = 1
    attention_resolutions: Sizes = ()
    heads: PositiveInt = 1
    dtype: DType = jnp.float32
    patch: PositiveInt = 1
    factors: Sizes = ()
    remat: bool = False
    attention: Attention = "xla"

    @nn.compact
    def __call__(self, x: Array, noise: ArrayLike) -> Array:
        """Logits ``(B, K)`` of ``x`` at a noise level, float32.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; the patch and all factors divide their sides.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
        """
        check_spatial_shape(self, x)
        vector = Conditioning(4 * self.channels, name="conditioning")(noise, None, x.shape[0])
        h = pooled(self, x, vector)
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name="output")(h)


_LEAST_TEMPERATURE = 0.01


class DualEncoder(Module):
    """Unit vectors of pictures and captions, for :func:`scorekit.losses.contrastive.contrastive_loss`.

    Of pictures the encoder of :class:`~scorekit.networks.UNet`, a norm, global average pooling and a dense layer, as
    :class:`Classifier`; of captions a linear map of the vector of a frozen encoder of text. Both results are divided by
    their norm. The temperature tau is a parameter ``log_temperature``, at first ``log 0.07``, and at least 0.01.

    Attributes:
      features: length D of an embedding.
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level.
      attention_resolutions: heights (of signals: lengths) in patches at which attention follows each residual block.
      heads: number of attention heads.
      dtype: dtype of the computation.
      patch: side of the patches that are folded into channels.
      factors: downsampling factor between consecutive levels; empty for 2 everywhere.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      attention: ``"xla"`` or ``"fused"``, see :func:`scorekit.networks.attention.attend`.

    Source: Radford et al. 2021, "CLIP" (https://arxiv.org/abs/2103.00020), with a frozen encoder of text; Zhai et al.
    2022, "LiT" (https://arxiv.org/abs/2111.07991).
    """

    features: PositiveInt = 64
    channels: PositiveInt = 32
    multipliers: SomeSizes = (1, 2, 4)
    blocks: NonNegativeInt = 1
    attention_resolutions: Sizes = ()
    heads: PositiveInt = 1
    dtype: DType = jnp.float32
    patch: PositiveInt = 1
    factors: Sizes = ()
    remat: bool = False
    attention: Attention = "xla"

    def setup(self) -> None:
        """The two encoders and the temperature."""
        sizes = {name: getattr(self, name) for name in _Pictures.__annotations__}
        self.picture = _Pictures(**sizes)
        self.caption = nn.Dense(self.features, use_bias=False)
        self.log_temperature = self.param("log_temperature", nn.initializers.constant(math.log(0.07)), (), jnp.float32)

    def __call__(self, x: Array, captions: Array) -> tuple[Array, Array, Array]:
        """Embeds pictures and captions; the third result is the log-temperature.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; the patch and all factors divide their sides.
          captions: vectors of captions, ``(B', E)``, of a frozen encoder of text.
        """
        below = jnp.maximum(math.log(_LEAST_TEMPERATURE) - self.log_temperature, 0.0)
        log_temperature = self.log_temperature + jax.lax.stop_gradient(below)  # the gradient leads back above the least
        return self.embed_pictures(x), self.embed_captions(captions), log_temperature

    def embed_pictures(self, x: Array) -> Array:
        """Embeddings of pictures, of norm 1, float32 ``(B, D)``.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; the patch and all factors divide their sides.
        """
        check_spatial_shape(self, x)
        return _normalised(self.picture(x))

    def embed_captions(self, captions: Array) -> Array:
        """Embeddings of captions, of norm 1, float32 ``(B', D)``.

        Args:
          captions: vectors of captions, ``(B', E)``, of a frozen encoder of text.
        """
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
    attention: Attention

    @nn.compact
    def __call__(self, x: Array) -> Array:
        constant = jnp.zeros((x.shape[0], 1))  # the blocks have no condition
        return nn.Dense(self.features, name="output")(pooled(self, x, constant))


def _normalised(x: Array) -> Array:
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-12))
