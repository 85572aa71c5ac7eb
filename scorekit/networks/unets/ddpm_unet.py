"""The U-Net of "Denoising diffusion probabilistic models"."""

from typing import Annotated, Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, NonNegativeInt, PositiveFloat, PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._ddpm_blocks import (
    EPSILON,
    Attention,
    ResidualBlock,
    SpatialTransformer,
    check_groups,
    conv,
    downsample,
    group_norm,
    upsample,
)
from scorekit.networks._levels import check_attention_levels, check_sides, concatenated, u_net
from scorekit.networks._module import Conditioned, Levels, Published, Rate, Sizes, SomeSizes
from scorekit.networks._spatial import add_map
from scorekit.networks._tokens import Context, embed_tokens
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

    The attributes from ``level_heads`` to ``middle_attention`` are what diffusers' ``UNet2DModel`` changes of it, the
    last three what its ``UNet2DConditionModel`` adds, the network of Stable Diffusion: transformers that attend to
    tokens, such as the states of a text encoder, in some levels and, in place of attention, in the middle.

    Attributes:
      channels: channels of the first level; even, and at least 4.
      attention_levels: levels, from 0, where attention follows each residual block; it is always in the middle.
      groups: groups of the norms; divides the channels of every level.
      level_heads: attention heads of each level; empty: one everywhere. The middle has as many as the last level.
      norm_epsilon: number added to the variances of the norms.
      symmetric_padding: whether the strided convolutions are padded at both ends.
      cosine_first: whether the cosines of the noise level precede the sines.
      frequency_shift: 1: the lowest of the K frequencies is exactly 1e-4 of the highest; 0: ``1e-4 ** (1 - 1 / K)``.
      scale_shift: whether the embedding scales and shifts the second norm of a residual block.
      residual_resampling: whether the resolution changes in residual blocks, by means of 2 x 2 and by repetition.
      middle_attention: attention in the middle with a norm before it, without one, or none.
      token_levels: levels, from 0, where a transformer follows each residual block.
      token_depth: blocks of a transformer.

    Source: Ho et al. 2020, "Denoising diffusion probabilistic models" (https://arxiv.org/abs/2006.11239); for the
    transformers Rombach et al. 2022 (https://arxiv.org/abs/2112.10752).
    """

    channels: PositiveInt = 32
    multipliers: SomeSizes = (1, 2)
    blocks: NonNegativeInt = 1
    attention_levels: Levels = ()
    groups: PositiveInt = 8
    dropout: Rate = 0.0
    noise_scale: PositiveFloat = 32.0
    remat: bool = False
    level_heads: Sizes = ()
    norm_epsilon: PositiveFloat = EPSILON
    symmetric_padding: bool = False
    cosine_first: bool = False
    frequency_shift: Annotated[float, Between(0, 1, scalar=True)] = 1.0
    scale_shift: bool = False
    residual_resampling: bool = False
    middle_attention: Literal["normalised", "plain", "none"] = "normalised"
    token_size: PositiveInt | None = None
    token_levels: Levels = ()
    token_depth: PositiveInt = 1
    presets: ClassVar = PRESETS
    spatial_axes: ClassVar[tuple[int, ...]] = (2,)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise: ArrayLike,
        labels: ArrayLike | None = None,
        vector: Any = None,
        dense_map: Any = None,
        tokens: Any = None,
    ) -> Array:
        """Evaluates the network on images ``x`` ``(B, H, W, C)``, their sides divisible by ``2 ** (levels - 1)``."""
        self._check_sizes(x)
        x, batch, side = jnp.asarray(x, jnp.float32), x.shape[0], (3, 3)
        context = embed_tokens(tokens, self.token_size, batch, norm=False)
        how = self.channels, self.frequency_shift, self.cosine_first
        embed = lambda noise: _timestep_features(self.noise_scale * noise, *how)
        conditioning = Conditioning(
            4 * self.channels, self.num_classes, self.vector_size, noise_features=embed, name="conditioning"
        )
        condition = conditioning(noise, labels, batch, vector)
        h = conv(self.channels, side, self.dtype, "input")(x)
        h = add_map(h, dense_map, self.map_shape, self.dtype)
        last = len(self.multipliers) - 1

        def block(h: Array, part: str, level: int, i: int) -> Array:
            name, attends = f"{part}_{level}_{i}", level in self.attention_levels
            h = self._residual(h, condition, level, name)
            h = self._attention(h, level, name) if attends else h
            return self._transformer(h, context, level, name) if level in self.token_levels else h

        def middle(h: Array) -> Array:
            h = self._residual(h, condition, last, "middle_0")
            if context is not None:
                h = self._transformer(h, context, last, "middle_0")
            elif self.middle_attention != "none":
                h = self._attention(h, last, "middle_0", norm=self.middle_attention == "normalised")
            return self._residual(h, condition, last, "middle_1")

        def resample(h: Array, part: str, level: int) -> Array:
            name = f"{part}_{level}"
            if self.residual_resampling:
                return self._residual(h, condition, level - (part == "down"), name, part)
            if part == "up":
                return upsample(h, self.dtype, name)
            return downsample(h, self.dtype, name, self.symmetric_padding)

        join = lambda h, skip: concatenated(h, skip.astype(h.dtype))
        h = u_net(h, last + 1, self.blocks, block, middle, resample, join)
        h = nn.silu(group_norm(h, self.groups, "norm", self.norm_epsilon))
        return conv(x.shape[-1], side, jnp.float32, "output", 0.0)(h)

    def _residual(self, h: Array, condition: Array, level: int, name: str, resample: str = "") -> Array:
        kind, width = nn.remat(ResidualBlock) if self.remat else ResidualBlock, self.channels * self.multipliers[level]
        how = self.dropout, 0.0, self.norm_epsilon, self.scale_shift, resample
        return kind(width, self.groups, self.dtype, *how, name=name)(h, condition)

    def _attention(self, h: Array, level: int, name: str, norm: bool = True) -> Array:
        kind, groups = nn.remat(Attention) if self.remat else Attention, self.groups if norm else None
        return kind(groups, self.dtype, 0.0, self._heads(level), self.norm_epsilon, name=f"{name}_attention")(h)

    def _transformer(self, h: Array, context: Context | None, level: int, name: str) -> Array:
        if context is None:
            raise ValueError(f"token_levels must be empty for a network without tokens, got {tuple(self.token_levels)}")
        kind = nn.remat(SpatialTransformer) if self.remat else SpatialTransformer
        sizes = self.groups, self._heads(level), self.token_depth, self.dtype
        return kind(*sizes, name=f"{name}_tokens")(h, context)

    def _heads(self, level: int) -> int:
        return self.level_heads[level] if self.level_heads else 1

    def _check_sizes(self, x: Array) -> None:
        check_floating(x=x)
        if x.ndim != 4:
            raise ValueError(f"x must have shape (B, H, W, C), got {x.shape}")
        check_groups(self.channels, self.multipliers, self.groups)
        levels = len(self.multipliers)
        check_attention_levels(self.attention_levels, levels)
        check_attention_levels(self.token_levels, levels, "token_levels")
        widths = [self.channels * multiplier for multiplier in self.multipliers]
        if self.level_heads and (
            len(self.level_heads) != levels or any(w % n for w, n in zip(widths, self.level_heads, strict=True))
        ):
            raise ValueError(
                f"level_heads must be {levels} numbers that divide the channels {widths} of the levels, got "
                f"{tuple(self.level_heads)}"
            )
        if self.channels % 2 or self.channels < 4:
            raise ValueError(f"channels must be even and at least 4, got {self.channels}")
        check_sides(x.shape[1:-1], 2 ** (levels - 1))


def _timestep_features(timestep: Array, features: int, shift: float, cosine_first: bool) -> Array:
    """``[sin(w_k t), cos(w_k t)]`` with ``w_k = 10,000 ** (-k / (features / 2 - shift))``, from 1 down.

    With shift 0 and the cosines first, these are :func:`scorekit.networks.embeddings.timestep_features`.
    """
    half = features // 2
    frequencies = np.float32(10_000.0 ** (-np.arange(half) / (half - shift)))
    angles = jnp.asarray(timestep, jnp.float32)[..., None] * frequencies
    waves = jnp.sin(angles), jnp.cos(angles)
    return jnp.concatenate(waves[::-1] if cosine_first else waves, axis=-1)
