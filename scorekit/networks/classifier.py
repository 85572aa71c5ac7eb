"""A classifier of noisy images: the downward half of the U-Net."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from scorekit.networks.embeddings import Conditioning
from scorekit.networks.unet import DType, GroupNorm, check_image, way_down
from scorekit.typing import Array, ArrayLike


class Classifier(nn.Module):
    """``(x_t, noise) -> logits`` of ``p(y | x_t)`` at every noise level.

    The way down of :class:`~scorekit.networks.unet.UNet`, a norm, the mean over all pixels, and a dense layer that
    starts at zero: at initialisation every class is equally likely.

    Attributes:
      num_classes: number of classes K.
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``.
      blocks: residual blocks per level.
      attention_resolutions: heights at which attention follows each residual block.
      heads: number of attention heads.
      dtype: dtype of the convolutions and of attention.

    >>> import jax
    >>> network = Classifier(num_classes=10, channels=8)
    >>> x = jnp.ones((2, 8, 8, 1))
    >>> params = network.init(jax.random.key(0), x, jnp.zeros(2))
    >>> network.apply(params, x, jnp.zeros(2)).shape
    (2, 10)

    Source: Dhariwal & Nichol 2021, sec. 4.2 (https://arxiv.org/abs/2105.05233), with mean instead of attention pooling.
    """

    num_classes: int
    channels: int = 32
    multipliers: Sequence[int] = (1, 2)
    blocks: int = 1
    attention_resolutions: Sequence[int] = ()
    heads: int = 1
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array, noise: ArrayLike) -> Array:
        """Evaluates the network.

        Args:
          x: images, ``(B, H, W, C)``; H and W divisible by ``2 ** (len(multipliers) - 1)``.
          noise: noise level, scalar or ``(B,)``; of order one (for example ``log_snr / 4``, clipped).

        Returns:
          float32 logits ``(B, K)``.
        """
        check_image(self, x)
        vector = Conditioning(4 * self.channels, name="conditioning")(noise, None, x.shape[0])
        h = nn.Conv(self.channels, (3, 3), dtype=self.dtype, name="input")(x)
        h, _ = way_down(self, h, vector)
        h = nn.silu(GroupNorm(name="norm")(h)).mean((1, 2))
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name="output")(h)
