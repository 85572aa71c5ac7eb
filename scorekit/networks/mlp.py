"""A residual multilayer perceptron for vectors."""

import flax.linen as nn
import jax.numpy as jnp

from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike


class MLP(nn.Module):
    """Residual network for vectors, conditioned through scale and shift of its layer norms.

    Each block is ``h + dense0(silu(dense(norm(h) (1 + scale) + shift)))``, where ``dense0`` starts at zero, and so
    does the output layer. Parameters, norms and output are float32; ``dtype`` is that of the dense layers.

    Attributes:
      features: width, even and at least 4.
      blocks: number of residual blocks.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: unconditional.
      dtype: dtype of the computation.

    >>> import jax
    >>> network = MLP(features=32, num_classes=2)
    >>> x = jnp.ones((5, 2))
    >>> params = network.init(jax.random.key(0), x, jnp.zeros(5))
    >>> network.apply(params, x, jnp.zeros(5), jnp.ones(5, int)).shape
    (5, 2)
    """

    features: int = 128
    blocks: int = 3
    num_classes: int | None = None
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None) -> Array:
        """Evaluates the network.

        Args:
          x: vectors, ``(B, D)``.
          noise: noise level, scalar or ``(B,)``; of order one (for example ``log_snr / 4``, clipped).
          labels: integer labels, scalar or ``(B,)``, or None.

        Returns:
          float32 ``(B, D)``.
        """
        if x.ndim != 2:
            raise ValueError(f"x must have shape (B, D), got {x.shape}")
        vector = Conditioning(self.features, self.num_classes, name="conditioning")(noise, labels, x.shape[0])
        h = nn.Dense(self.features, dtype=self.dtype, name="input")(x)
        for i in range(self.blocks):
            scale, shift = jnp.split(nn.Dense(2 * self.features, name=f"film_{i}")(vector), 2, -1)
            norm = nn.LayerNorm(use_scale=False, use_bias=False, dtype=jnp.float32, name=f"norm_{i}")
            y = norm(h) * (1 + scale) + shift
            y = nn.Dense(self.features, dtype=self.dtype, name=f"dense_{i}")(y)
            zeros = nn.initializers.zeros
            y = nn.Dense(self.features, dtype=self.dtype, kernel_init=zeros, name=f"close_{i}")(nn.silu(y))
            h = h + y
        h = nn.silu(nn.LayerNorm(dtype=jnp.float32, name="norm_out")(h))
        return nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="output")(h)
