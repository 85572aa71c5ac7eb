"""A classifier of noisy images or signals: the encoder of the U-Net."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from scorekit.checks import check_count
from scorekit.networks._spatial import DType
from scorekit.networks._unet_blocks import check_spatial_shape, pooled
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike

__all__ = ["Classifier"]


class Classifier(nn.Module):
    """``(x_t, noise) -> logits`` of ``p(y | x_t)`` at every noise level.

    The encoder of :class:`~scorekit.networks.unet.UNet`, a norm, global average pooling, and a dense layer that starts
    at zero: at initialisation all classes are equally likely.

    Attributes:
      num_classes: number of classes K.
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``.
      blocks: residual blocks per level.
      attention_resolutions: heights (of signals: lengths) in patches at which attention follows each residual block.
      heads: number of attention heads.
      dtype: dtype of the convolutions and of attention.
      patch: side of the patches that are folded into the channels of the first level.
      factors: downsampling factor between consecutive levels; empty for 2 everywhere.
      remat: recompute the activations of residual blocks and attention in the backward pass instead of storing them.

    >>> import jax
    >>> network = Classifier(num_classes=10, channels=8)
    >>> x = jnp.ones((2, 8, 8, 1))
    >>> params = jax.jit(network.init)(jax.random.key(0), x, jnp.zeros(2))
    >>> jax.jit(network.apply)(params, x, jnp.zeros(2)).shape
    (2, 10)

    Source: Dhariwal & Nichol 2021 (https://arxiv.org/abs/2105.05233), with mean instead of attention pooling.
    """

    num_classes: int
    channels: int = 32
    multipliers: Sequence[int] = (1, 2)
    blocks: int = 1
    attention_resolutions: Sequence[int] = ()
    heads: int = 1
    dtype: DType = jnp.float32
    patch: int = 1
    factors: Sequence[int] = ()
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, noise: ArrayLike) -> Array:
        """Evaluates the network.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; their sides divisible by the patch and all factors.
          noise: noise level, scalar or ``(B,)``; of order one (for example ``log_snr / 4``, clipped).

        Returns:
          float32 logits ``(B, K)``.

        Raises:
          ValueError: for an input of the wrong shape or dtype, or an attribute out of range.
        """
        check_count(num_classes=self.num_classes)
        check_spatial_shape(self, x)
        vector = Conditioning(4 * self.channels, name="conditioning")(noise, None, x.shape[0])
        h = pooled(self, x, vector)
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name="output")(h)
