"""A residual multilayer perceptron for vectors."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import NonNegativeInt, PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._conditions import OrNull, as_masked
from scorekit.networks._module import Conditioned
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike

__all__ = ["MLP"]


class MLP(Conditioned):
    """Residual network for vectors, conditioned by scale and shift of its layer norms.

    Each block is ``h + dense0(silu(dense(norm(h) (1 + scale) + shift)))``, where ``dense0`` starts at zero, and so
    does the output layer.

    Attributes:
      features: width, even and at least 4.
      blocks: number of residual blocks.
      map_shape: shape (H, W, C) of a conditioning image or dense map, which is flattened; None: no map.
    """

    features: PositiveInt = 128
    blocks: NonNegativeInt = 3
    spatial_axes: ClassVar[tuple[int, ...]] = (0,)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise: ArrayLike,
        labels: ArrayLike | None = None,
        vector: Any = None,
        dense_map: Any = None,
        scalars: ArrayLike | None = None,
    ) -> Array:
        """Evaluates the network on vectors ``x`` ``(B, D)``."""
        check_floating(x=x)
        if x.ndim != 2:
            raise ValueError(f"x must have shape (B, D), got {x.shape}")
        x, batch = jnp.asarray(x, jnp.float32), x.shape[0]
        conditioning = Conditioning(self.features, self.num_classes, self.vector_size, name="conditioning")
        given = as_masked("dense_map", dense_map, self.map_shape, batch)
        total = conditioning(noise, labels, batch, vector, scalars)
        h = nn.Dense(self.features, dtype=self.dtype, name="input")(x)
        if given is not None:
            embedded = nn.Dense(self.features, dtype=self.dtype, name="map")(given.value.reshape(batch, -1))
            h = h + OrNull(name="map_or_null")(embedded, given.present)
        for i in range(self.blocks):
            scale, shift = jnp.split(nn.Dense(2 * self.features, name=f"film_{i}")(total), 2, -1)
            norm = nn.LayerNorm(use_scale=False, use_bias=False, dtype=jnp.float32, name=f"norm_{i}")
            y = norm(h) * (1 + scale) + shift
            y = nn.Dense(self.features, dtype=self.dtype, name=f"dense_{i}")(y)
            zeros = nn.initializers.zeros
            y = nn.Dense(self.features, dtype=self.dtype, kernel_init=zeros, name=f"close_{i}")(nn.silu(y))
            h = h + y
        h = nn.silu(nn.LayerNorm(dtype=jnp.float32, name="norm_out")(h))
        return nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="output")(h)
