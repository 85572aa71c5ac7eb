"""A classifier of noisy images or signals: the encoder of the U-Net."""

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import NonNegativeInt, PositiveInt
from scorekit.networks._module import Module, Sizes, SomeSizes
from scorekit.networks._spatial import DType
from scorekit.networks.embeddings import Conditioning
from scorekit.networks.unets._unet_blocks import check_spatial_shape, pooled
from scorekit.typing import Array, ArrayLike

__all__ = ["Classifier"]


class Classifier(Module):
    """``(x_t, noise) -> logits`` of ``p(y | x_t)`` at every noise level.

    The encoder of :class:`~scorekit.networks.UNet`, a norm, global average pooling, and a dense layer that starts
    at zero: at initialisation all classes are equally likely.

    Attributes:
      num_classes: number of classes K.
      blocks: residual blocks per level.

    >>> import jax
    >>> network = Classifier(num_classes=10, channels=8)
    >>> x = jnp.ones((2, 8, 8, 1))
    >>> params = jax.jit(network.init)(jax.random.key(0), x, jnp.zeros(2))
    >>> jax.jit(network.apply)(params, x, jnp.zeros(2)).shape
    (2, 10)

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

    @nn.compact
    def __call__(self, x: Array, noise: ArrayLike) -> Array:
        """Evaluates the network.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; their sides divisible by the patch and all factors.

        Returns:
          float32 logits ``(B, K)``.
        """
        check_spatial_shape(self, x)
        vector = Conditioning(4 * self.channels, name="conditioning")(noise, None, x.shape[0])
        h = pooled(self, x, vector)
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name="output")(h)
