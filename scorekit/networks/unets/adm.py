"""The ablated diffusion model: the U-Net of guided-diffusion, with its published sizes."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import NonNegativeInt, PositiveFloat, PositiveInt
from scorekit.networks._conditions import OrNull, as_masked
from scorekit.networks._levels import check_attention_levels, u_net
from scorekit.networks._module import Conditioned, Levels, Published, Rate, SomeSizes
from scorekit.networks._spatial import DType, check_signal_or_image, resize_linear
from scorekit.networks.attention import Attention, attend
from scorekit.networks.embeddings import Conditioning, timestep_features
from scorekit.typing import Array, ArrayLike

__all__ = ["ADM", "PRESETS"]

_IMAGENET_64 = {"channels": 192, "multipliers": (1, 2, 3, 4), "blocks": 3, "attention_levels": (1, 2, 3)}
_IMAGENET_64 |= {"head_channels": 64, "dropout": 0.1, "noise_scale": 1.0, "num_classes": 1000}
_LARGE = {"channels": 256, "blocks": 2, "noise_scale": 1.0, "learned_variance": True}
_PLAIN_256 = {**_LARGE, "multipliers": (1, 1, 2, 2, 4, 4), "attention_levels": (3, 4, 5), "head_channels": 64}
_UPSAMPLER = {**_LARGE, "channels": 192, "multipliers": (1, 1, 2, 2, 4, 4), "num_classes": 1000}
_IMAGENET_128 = {"multipliers": (1, 1, 2, 3, 4), "attention_levels": (2, 3, 4), "heads": 4, "num_classes": 1000}
_IMAGENET_512 = {"channels": 128, "multipliers": (1, 2, 2, 4, 4, 8, 8), "attention_levels": (4, 5, 6)}

PRESETS: dict[str, dict[str, Any]] = {
    "imagenet-64": {**_IMAGENET_64, "learned_variance": True},
    "imagenet-64-edm": _IMAGENET_64,
    "imagenet-128": {**_LARGE, **_IMAGENET_128},
    "imagenet-256": {**_PLAIN_256, "num_classes": 1000},
    "imagenet-256-unconditional": _PLAIN_256,
    "imagenet-512": {**_PLAIN_256, **_IMAGENET_512, "noise_channels": 256, "num_classes": 1000},
    "lsun": {**_PLAIN_256, "dropout": 0.1},
    "upsampler-64-256": {**_UPSAMPLER, "attention_levels": (3, 4, 5), "heads": 4, "map_shape": (64, 64, 3)},
    "upsampler-128-512": {**_UPSAMPLER, "attention_levels": (4, 5), "head_channels": 64, "map_shape": (128, 128, 3)},
}
"""The published networks: ImageNet and LSUN at each size, EDM's at 64 x 64, and the two upsamplers of a cascade."""


class ADM(Conditioned, Published):
    """The U-Net of guided-diffusion (ADM), of EDM ("DhariwalUNet") and of the first consistency models.

    With ``c`` the embedding of noise level, class and vector, a residual block computes::

        scale, shift = dense(silu(c))
        h = shortcut(x) + conv0(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift))

    ``conv0`` starts at zero, as do the last convolution and the projection of attention. Self-attention follows the
    blocks of the chosen levels and the first of the two middle blocks. A residual block also halves the resolution, by
    averages of 2 x 2 after its first norm and of ``x``, or doubles it, by repetition. The decoder has one block more
    per level than the encoder; each is given one skip connection, and so are the first convolution and every halving.

    The noise level is embedded as in :class:`~scorekit.networks.DiT`. With ``noise_scale=1`` the network is called with
    the timestep in [0, 1000) of guided-diffusion, ``log(sigma) / 4`` of EDM, ``250 log(sigma)`` of consistency models.

    A dense map, such as the low-resolution image of an upsampler, is resized linearly to the size of ``x`` and
    concatenated: the convolution of the map is added to the first convolution.

    Attributes:
      attention_levels: levels at which attention follows each residual block; 0 is the full resolution.
      head_channels: channels of a head, in place of ``heads``; None: ``heads`` at every level.
      noise_channels: features of the noise level, even; its embedding has four times as many. None: ``channels``.
      residual_resampling: residual blocks halve and double the resolution; otherwise one convolution each.
      scale_shift: the embedding scales and shifts the second norm; otherwise it is added before that norm.
      group_channels: least channels of a group of the norms, which have at most 32 groups.

    Source: Dhariwal & Nichol 2021, "Diffusion models beat GANs on image synthesis" (https://arxiv.org/abs/2105.05233).
    """

    channels: PositiveInt = 64
    multipliers: SomeSizes = (1, 2)
    blocks: NonNegativeInt = 1
    attention_levels: Levels = ()
    heads: PositiveInt = 4
    head_channels: PositiveInt | None = None
    noise_scale: PositiveFloat = 32.0
    noise_channels: PositiveInt | None = None
    residual_resampling: bool = True
    scale_shift: bool = True
    learned_variance: bool = False
    group_channels: PositiveInt = 4
    dropout: Rate = 0.0
    remat: bool = False
    attention: Attention = "xla"
    presets: ClassVar = PRESETS
    spatial_axes: ClassVar[tuple[int, ...]] = (1, 2)

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """Evaluates the network on images ``(B, H, W, C)`` or signals; 2 divides the sides for each level but one."""
        self._check_sizes(x)
        x, batch = jnp.asarray(x, jnp.float32), x.shape[0]
        features = self.noise_channels or self.channels
        embed = lambda noise: timestep_features(self.noise_scale * noise, features)
        sizes = self.num_classes, self.vector_size
        conditioning = Conditioning(4 * features, *sizes, noise_features=embed, name="conditioning")
        given = as_masked("dense_map", dense_map, self.map_shape, batch)
        condition = conditioning(noise, labels, batch, vector)
        widths = [self.channels * m for m in self.multipliers]
        h = self._conv(x, widths[0], "input")
        if given is not None:
            resized = resize_linear(given.value, x.shape[1:-1])
            h = h + OrNull(name="map_or_null")(self._conv(resized, widths[0], "map"), given.present)

        def block(h: Array, part: str, level: int, i: int) -> Array:
            return self._stage(h, condition, widths[level], level in self.attention_levels, f"{part}{level}_{i}")

        def middle(h: Array) -> Array:
            h = self._stage(h, condition, widths[-1], True, "middle_0")
            return self._stage(h, condition, widths[-1], False, "middle_1")

        resample = lambda h, part, level: self._resampled(h, condition, part, level)
        h = u_net(h, len(widths), self.blocks, block, middle, resample)
        h = nn.silu(_norm(h, self.group_channels, "norm"))
        out = x.shape[-1] * (2 if self.learned_variance else 1)
        return nn.Conv(out, (3,) * (x.ndim - 2), kernel_init=nn.initializers.zeros, name="output")(h)

    def _conv(self, h: Array, features: int, name: str, stride: int = 1) -> Array:
        """A convolution of side 3 with one zero of padding at each end."""
        rank = h.ndim - 2
        return nn.Conv(features, (3,) * rank, stride, padding=((1, 1),) * rank, dtype=self.dtype, name=name)(h)

    def _stage(self, h: Array, condition: Array, width: int, attend: bool, name: str) -> Array:
        h = self._block(h, condition, width, "", f"{name}_block")
        if not attend:
            return h
        per_head = self.head_channels
        heads, rest = (self.heads, width % self.heads) if per_head is None else divmod(width, per_head)
        if rest:
            raise ValueError(f"heads or head_channels must divide the {width} channels, got {per_head or heads}")
        attention = nn.remat(_Attention) if self.remat else _Attention
        return attention(heads, self.group_channels, self.dtype, self.attention, name=f"{name}_attention")(h)

    def _block(self, h: Array, condition: Array, width: int, resample: str, name: str) -> Array:
        block = nn.remat(_ResidualBlock) if self.remat else _ResidualBlock
        options = self.scale_shift, self.group_channels, self.dropout, self.dtype
        return block(width, resample, *options, name=name)(h, condition)

    def _resampled(self, h: Array, condition: Array, part: str, level: int) -> Array:
        """Half the resolution, or twice, and as many channels."""
        name = f"down{level}_halve" if part == "down" else f"up{level}_double"
        if self.residual_resampling:
            return self._block(h, condition, h.shape[-1], part, name)
        if part == "down":
            return self._conv(h, h.shape[-1], name, stride=2)
        return self._conv(_resample(h, "up"), h.shape[-1], name)

    def _check_sizes(self, x: Array) -> None:
        check_signal_or_image(x)
        levels, name = len(self.multipliers), "channels" if self.noise_channels is None else "noise_channels"
        features = self.noise_channels or self.channels
        if features % 2:
            raise ValueError(f"{name} must be even, for the sines and cosines of the noise level, got {features}")
        check_attention_levels(self.attention_levels, levels)
        if any(side % 2 ** (levels - 1) for side in x.shape[1:-1]):
            sides = " x ".join(map(str, x.shape[1:-1]))
            raise ValueError(f"x must have sides divisible by {2 ** (levels - 1)} for {levels} levels, got {sides}")
        if self.map_shape is not None and len(self.map_shape) != x.ndim - 1:
            raise ValueError(f"map_shape must have {x.ndim - 1} axes, the last its channels, got {self.map_shape}")


class _ResidualBlock(nn.Module):
    """A residual block of :class:`ADM` at the condition ``silu(c)``; ``resample`` is "", "down" or "up"."""

    features: int
    resample: str = ""
    scale_shift: bool = True
    group_channels: int = 4
    dropout: float = 0.0
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, x: Array, condition: Array) -> Array:
        side = (3,) * (x.ndim - 2)
        h = _resample(nn.silu(_norm(x, self.group_channels, "norm_1")), self.resample)
        x = _resample(x, self.resample)
        h = nn.Conv(self.features, side, dtype=self.dtype, name="conv_1")(h)
        film = nn.Dense((2 if self.scale_shift else 1) * self.features, name="film")(condition)
        film = jnp.expand_dims(film, range(1, h.ndim - 1))
        if self.scale_shift:
            scale, shift = jnp.split(film, 2, axis=-1)
            h = _norm(h, self.group_channels, "norm_2") * (1 + scale) + shift
        else:
            h = _norm(h + film, self.group_channels, "norm_2")
        h = nn.Dropout(self.dropout)(nn.silu(h), deterministic=not self.has_rng("dropout"))
        h = nn.Conv(self.features, side, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="conv_2")(h)
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=self.dtype, name="shortcut")(x)
        return x.astype(h.dtype) + h


class _Attention(nn.Module):
    """Self-attention over all spatial positions: ``x + dense0(softmax(q k / sqrt(d)) v)``."""

    heads: int
    group_channels: int = 4
    dtype: DType = jnp.float32
    attention: Attention = "xla"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, channels = x.shape[0], x.shape[-1]
        h = _norm(x, self.group_channels, "norm").reshape(batch, -1, channels)
        h = nn.Dense(3 * channels, dtype=self.dtype, name="qkv")(h)
        h = h.reshape(batch, -1, 3, self.heads, channels // self.heads)
        h = attend(h[:, :, 0], h[:, :, 1], h[:, :, 2], self.attention).reshape(x.shape)
        h = nn.Dense(channels, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="proj")(h)
        return x.astype(h.dtype) + h


def _norm(x: Array, group_channels: int, name: str) -> Array:
    """Group norm in float32; for use in a compact method."""
    channels = x.shape[-1]
    groups = max(1, min(32, channels // group_channels))
    if channels % groups:
        raise ValueError(f"channels must be such that the {groups} groups of a norm divide its {channels} channels")
    return nn.GroupNorm(groups, epsilon=1e-5, dtype=jnp.float32, use_fast_variance=False, name=name)(x)


def _resample(x: Array, resample: str) -> Array:
    """Means of 2 x 2 for "down", repetition for "up"."""
    rank = x.ndim - 2
    if resample == "down":
        return nn.avg_pool(x, (2,) * rank, (2,) * rank)
    if resample == "up":
        for axis in range(1, rank + 1):
            x = x.repeat(2, axis=axis)
    return x
