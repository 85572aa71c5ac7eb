"""A WaveNet for signals: a network of dilated convolutions, sized by its arguments."""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.arguments import PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._conditions import along_positions, as_masked
from scorekit.networks._module import Conditioned
from scorekit.networks._spatial import depth_to_space, embed_map, space_to_depth
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike


class WaveNet(Conditioned):
    """Gated dilated convolutions with residual and skip connections: a non-causal WaveNet.

    With ``h`` of ``channels`` channels, layer i of n computes::

        a, b = conv_i(h) + noise_i(c) + map_i(m)      3 taps, dilation ``dilation_base ** (i mod cycle)``
        r, s = close_i(tanh(a) sigmoid(b))
        h    = (h + r) / sqrt(2)

    and the output is ``conv0(silu(conv(sum of all s / sqrt(n))))``, where ``conv0`` starts at zero. ``c`` embeds the
    noise level, the class and the vector; ``m`` is the dense map, resized to the length of ``h``.

    The receptive field is ``patch * (1 + 2 * sum of the dilations)`` samples, see :attr:`receptive_field`. All layers
    work at full resolution, so that the network is equivariant to shifts of signal and map by a patch, away from the
    ends.

    Attributes:
      channels: channels of the residual stream, and of the skip connections.
      layers: number of layers n.
      cycle: layers after which the dilations restart at 1.
      dilation_base: growth of the dilation from layer to layer.
      patch: consecutive samples that are folded into the channels of one position.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.

    Source: van den Oord et al. 2016 (https://arxiv.org/abs/1609.03499); Kong et al. 2021, "DiffWave"
    (https://arxiv.org/abs/2009.09761).
    """

    channels: PositiveInt = 64
    layers: PositiveInt = 20
    cycle: PositiveInt = 10
    dilation_base: PositiveInt = 2
    patch: PositiveInt = 1
    spatial_axes: ClassVar[tuple[int, ...]] = (1,)

    @property
    def dilations(self) -> tuple[int, ...]:
        """The dilation of each layer, in patches."""
        return tuple(self.dilation_base ** (i % self.cycle) for i in range(self.layers))

    @property
    def receptive_field(self) -> int:
        """Samples of the input that one patch of the output depends on."""
        return self.patch * (1 + 2 * sum(self.dilations))

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """The output, float32 and shaped like ``x``.

        Args:
          x: signals ``(B, L, C)``, L divisible by the patch.
          noise: noise level of order one, such as ``log_snr / 4``, scalar, ``(B,)`` or ``(B, L / patch)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
        """
        check_floating(x=x)
        if x.ndim != 3 or x.shape[1] % self.patch:
            raise ValueError(f"x must have shape (B, L, C) with L divisible by patch = {self.patch}, got {x.shape}")
        x, batch = jnp.asarray(x, jnp.float32), x.shape[0]
        conditioning = Conditioning(4 * self.channels, self.num_classes, self.vector_size, name="conditioning")
        local = as_masked("dense_map", dense_map, self.map_shape, batch)
        total = along_positions(conditioning(noise, labels, batch, vector, positions=x.shape[1] // self.patch))
        conv = lambda features, name, taps=1, dilation=1, **options: nn.Conv(
            features, (taps,), kernel_dilation=dilation, dtype=self.dtype, name=name, **options
        )
        x = space_to_depth(x, (self.patch,))
        h = conv(self.channels, "input")(x)
        if local is not None:
            local = nn.silu(embed_map(self.channels, self.dtype, local, x.shape[1:-1]))
        skips = jnp.zeros_like(h)
        for i, dilation in enumerate(self.dilations):
            z = conv(2 * self.channels, f"conv_{i}", 3, dilation)(h)
            z = z + nn.Dense(2 * self.channels, dtype=self.dtype, name=f"noise_{i}")(total)
            if local is not None:
                z = z + conv(2 * self.channels, f"map_{i}", use_bias=False)(local)
            a, b = jnp.split(z, 2, axis=-1)
            r, s = jnp.split(conv(2 * self.channels, f"close_{i}")(jnp.tanh(a) * jax.nn.sigmoid(b)), 2, axis=-1)
            h, skips = (h + r) * math.sqrt(0.5), skips + s
        h = nn.silu(conv(self.channels, "skips")(skips / math.sqrt(self.layers)))
        h = nn.Conv(x.shape[-1], (1,), kernel_init=nn.initializers.zeros, name="output")(h)
        return depth_to_space(h.astype(jnp.float32), (self.patch,))
