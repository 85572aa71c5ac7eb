"""The U-Net of "Denoising diffusion probabilistic models"."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegativeInt, PositiveFloat, PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._ddpm_blocks import (
    Attention,
    ResidualBlock,
    check_groups,
    conv,
    downsample,
    group_norm,
    upsample,
)
from scorekit.networks._levels import check_attention_levels, check_sides, concatenated, u_net
from scorekit.networks._module import Conditioned, Levels, Published, Rate, SomeSizes
from scorekit.networks._spatial import add_map
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike

__all__ = ["PRESETS", "DDPMUNet"]

_OF_ALL = {"channels": 128, "blocks": 2, "groups": 32, "noise_scale": 1.0}
_LARGE = {**_OF_ALL, "multipliers": (1, 1, 2, 2, 4, 4), "attention_levels": (4,)}

PRESETS: dict[str, dict[str, Any]] = {
    "cifar10": {**_OF_ALL, "multipliers": (1, 2, 2, 2), "attention_levels": (1,), "dropout": 0.1},
    "celebahq-256": _LARGE,
    "lsun-256": _LARGE,
}
"""Published networks. All have attention at 16 x 16, and timesteps from 0 to 999 as noise levels."""


class DDPMUNet(Conditioned, Published):
    """The U-Net of DDPM, for images: residual blocks shifted by the noise level, and few attention blocks.

    The embedding of noise level, class and vector is added to the features of each residual block between its two
    convolutions. The resolution halves by strided convolutions that are padded at the far ends alone, and doubles by
    nearest-neighbour repetition before a convolution. Every output of the encoder's blocks and resampling is
    concatenated to the input of a block of the decoder, which has one block more per level. Attention has one head.

    The last convolution of a residual block, the last projection of attention and the output start at zero, where the
    paper's code starts with a variance of 1e-10. The noise level is embedded as in :class:`~scorekit.networks.DiT`.

    Attributes:
      channels: channels of the first level; even, and at least 4.
      attention_levels: levels, from 0, where attention follows each residual block; it is always in the middle.
      groups: groups of the norms; divides the channels of every level.

    Source: Ho et al. 2020, "Denoising diffusion probabilistic models" (https://arxiv.org/abs/2006.11239).
    """

    channels: PositiveInt = 32
    multipliers: SomeSizes = (1, 2)
    blocks: NonNegativeInt = 1
    attention_levels: Levels = ()
    groups: PositiveInt = 8
    dropout: Rate = 0.0
    noise_scale: PositiveFloat = 32.0
    remat: bool = False
    presets: ClassVar = PRESETS
    spatial_axes: ClassVar[tuple[int, ...]] = (2,)

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """Evaluates the network on images ``x`` ``(B, H, W, C)``, their sides divisible by ``2 ** (levels - 1)``."""
        self._check_sizes(x)
        x, batch, side = jnp.asarray(x, jnp.float32), x.shape[0], (3, 3)
        embed = lambda noise: _timestep_features(self.noise_scale * noise, self.channels)
        conditioning = Conditioning(
            4 * self.channels, self.num_classes, self.vector_size, noise_features=embed, name="conditioning"
        )
        condition = conditioning(noise, labels, batch, vector)
        h = conv(self.channels, side, self.dtype, "input")(x)
        h = add_map(h, dense_map, self.map_shape, self.dtype)
        widths = [self.channels * m for m in self.multipliers]

        def block(h: Array, part: str, level: int, i: int) -> Array:
            return self._stage(h, condition, widths[level], level in self.attention_levels, f"{part}_{level}_{i}")

        def middle(h: Array) -> Array:
            h = self._stage(h, condition, widths[-1], True, "middle_0")
            return self._stage(h, condition, widths[-1], False, "middle_1")

        change = {"down": downsample, "up": upsample}
        resample = lambda h, part, level: change[part](h, self.dtype, f"{part}_{level}")
        join = lambda h, skip: concatenated(h, skip.astype(h.dtype))
        h = u_net(h, len(widths), self.blocks, block, middle, resample, join)
        h = nn.silu(group_norm(h, self.groups, "norm"))
        return conv(x.shape[-1], side, jnp.float32, "output", 0.0)(h)

    def _stage(self, h: Array, condition: Array, width: int, attention: bool, name: str) -> Array:
        block, attend = (nn.remat(ResidualBlock), nn.remat(Attention)) if self.remat else (ResidualBlock, Attention)
        h = block(width, self.groups, self.dtype, self.dropout, 0.0, name=name)(h, condition)
        return attend(self.groups, self.dtype, 0.0, name=f"{name}_attention")(h) if attention else h

    def _check_sizes(self, x: Array) -> None:
        check_floating(x=x)
        if x.ndim != 4:
            raise ValueError(f"x must have shape (B, H, W, C), got {x.shape}")
        check_groups(self.channels, self.multipliers, self.groups)
        levels = len(self.multipliers)
        check_attention_levels(self.attention_levels, levels)
        if self.channels % 2 or self.channels < 4:
            raise ValueError(f"channels must be even and at least 4, got {self.channels}")
        check_sides(x.shape[1:-1], 2 ** (levels - 1))


def _timestep_features(timestep: Array, features: int) -> Array:
    """``[sin(w_k t), cos(w_k t)]`` with ``w_k = 10,000 ** (-k / (features / 2 - 1))``, from 1 down to exactly 1e-4.

    Differs from :func:`scorekit.networks.embeddings.timestep_features` in order and spacing.
    """
    half = features // 2
    frequencies = np.float32(10_000.0 ** (-np.arange(half) / (half - 1)))
    angles = jnp.asarray(timestep, jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
