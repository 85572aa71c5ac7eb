"""The residual U-Net of DDPM, variational diffusion models and guided-diffusion, with their published sizes."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, Each, Fraction, FractionBelowOne, NonNegativeInt, Positive, PositiveInt
from scorekit.networks._levels import check_attention_levels, check_sides, concatenated, u_net
from scorekit.networks._module import Conditioned, Levels, Published, SomeSizes
from scorekit.networks._residual_blocks import (
    Attention,
    Norm,
    ResidualBlock,
    SpatialTransformer,
    conv,
    downsample,
    upsample,
)
from scorekit.networks._spatial import add_map, check_signal_or_image
from scorekit.networks._tokens import Context, embed_tokens
from scorekit.networks.attention import Attention as Implementation
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike

__all__ = ["PRESETS", "ResidualUNet"]

_IMAGENET_64 = {"channels": 192, "multipliers": (1, 2, 3, 4), "blocks": 3, "attention_levels": (1, 2, 3)}
_IMAGENET_64 |= {"head_channels": 64, "dropout": 0.1, "noise_scale": 1.0, "num_classes": 1000}
_LARGE = {"channels": 256, "blocks": 2, "noise_scale": 1.0, "learned_variance": True}
_PLAIN_256 = {**_LARGE, "multipliers": (1, 1, 2, 2, 4, 4), "attention_levels": (3, 4, 5), "head_channels": 64}
_UPSAMPLER = {**_LARGE, "channels": 192, "multipliers": (1, 1, 2, 2, 4, 4), "num_classes": 1000}
_IMAGENET_128 = {"multipliers": (1, 1, 2, 3, 4), "attention_levels": (2, 3, 4), "heads": 4, "num_classes": 1000}
_IMAGENET_512 = {"channels": 128, "multipliers": (1, 2, 2, 4, 4, 8, 8), "attention_levels": (4, 5, 6)}
_ONE_HEAD = {"heads": 1, "norm_epsilon": 1e-6, "residual_resampling": False}
_DDPM = {**_ONE_HEAD, "film": "shift", "symmetric_padding": False, "cosine_first": False, "frequency_shift": 1.0}
_DDPM |= {"channels": 128, "blocks": 2, "noise_scale": 1.0}
_DDPM_256 = {**_DDPM, "multipliers": (1, 1, 2, 2, 4, 4), "attention_levels": (4,)}
_VDM = {**_ONE_HEAD, "film": "zero_shift", "input_octaves": (7, 8), "multipliers": (1,), "blocks": 32}
_VDM |= {"noise_scale": 4.0, "log_snr_range": (-5.0, 13.3)}

PRESETS: dict[str, dict[str, Any]] = {
    "adm-imagenet-64": {**_IMAGENET_64, "learned_variance": True},
    "adm-imagenet-64-edm": _IMAGENET_64,
    "adm-imagenet-128": {**_LARGE, **_IMAGENET_128},
    "adm-imagenet-256": {**_PLAIN_256, "num_classes": 1000},
    "adm-imagenet-256-unconditional": _PLAIN_256,
    "adm-imagenet-512": {**_PLAIN_256, **_IMAGENET_512, "noise_channels": 256, "num_classes": 1000},
    "adm-lsun": {**_PLAIN_256, "dropout": 0.1},
    "adm-upsampler-64-256": {**_UPSAMPLER, "attention_levels": (3, 4, 5), "heads": 4, "map_shape": (64, 64, 3)},
    "adm-upsampler-128-512": {
        **_UPSAMPLER,
        "attention_levels": (4, 5),
        "head_channels": 64,
        "map_shape": (128, 128, 3),
    },
    "ddpm-cifar10": {**_DDPM, "multipliers": (1, 2, 2, 2), "attention_levels": (1,), "dropout": 0.1},
    "ddpm-celebahq-256": _DDPM_256,
    "ddpm-lsun-256": _DDPM_256,
    "vdm-cifar10": {**_VDM, "channels": 128},
    "vdm-cifar10-augmented": {**_VDM, "channels": 256, "attention_levels": (0,)},
    "vdm-imagenet32": {**_VDM, "channels": 256},
    "vdm-imagenet64": {**_VDM, "channels": 256, "blocks": 64},
}
"""The published networks: guided-diffusion's (ADM) of ImageNet and LSUN at each size and the two upsamplers of a
cascade, EDM's at 64 x 64, DDPM's, whose noise levels are timesteps from 0 to 999, and VDM's."""


class ResidualUNet(Conditioned, Published):
    """The U-Net of guided-diffusion (ADM) and EDM ("DhariwalUNet"), and with other attributes of DDPM and VDM.

    With ``c`` the embedding of noise level, class and vector, a residual block computes::

        scale, shift = dense(silu(c))
        h = shortcut(x) + conv0(dropout(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift)))

    ``conv0`` starts at zero, as do the last convolution and the projection of attention. Self-attention follows the
    blocks of the chosen levels and the first of the two middle blocks. Between levels a residual block halves the
    resolution, by averages of 2 x 2 after its first norm and of ``x``, or doubles it, by repetition. The decoder has
    one block more per level than the encoder; each is given one skip connection, and so are the first convolution and
    every halving.

    DDPM's network differs in most attributes from ``film`` to ``frequency_shift``. diffusers' ``UNet2DModel`` has
    these switches too; its ``UNet2DConditionModel``, the network of Stable Diffusion, adds transformers that attend to
    tokens, such as the states of a text encoder, in some levels and, in place of attention, in the middle.

    The network of variational diffusion models (VDM), made for likelihoods, has one level of many blocks. Sines and
    cosines of ``2^7 pi x`` and ``2^8 pi x`` are concatenated to ``x``: they resolve the steps of 8-bit values in
    [-1, 1], on which the likelihood of fine detail depends (``x`` in bfloat16 does not). The published network adds
    ``x`` to its output. :func:`scorekit.schedules.learned` is a monotone schedule that starts between the same ends.

    The noise level is embedded by sines and cosines of timesteps in [0, 1000). With ``noise_scale=1`` the network is
    called with the timestep of guided-diffusion and DDPM, ``log(sigma) / 4`` of EDM, ``250 log(sigma)`` of consistency
    models, and with ``log_snr_range`` the log-SNR of VDM.

    A dense map, such as the low-resolution image of an upsampler, is resized linearly to the size of ``x`` and
    concatenated: the convolution of the map is added to the first convolution.

    Attributes:
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level of the encoder; the decoder has one more.
      attention_levels: levels at which attention follows each residual block; 0 is the full resolution.
      heads: number of attention heads.
      head_channels: channels of a head, in place of ``heads``; None: ``heads`` at every level.
      film: how the embedding acts on a residual block: "scale_shift" scales and shifts the second norm; "shift" is
        added before that norm; so is "zero_shift", by a layer without bias that starts at zero.
      residual_resampling: residual blocks halve and double the resolution; otherwise one convolution each.
      symmetric_padding: whether the convolutions that halve the resolution are padded at both ends.
      groups: largest number of groups of the norms.
      group_channels: least channels of a group.
      norm_epsilon: number added to the variances of the norms outside transformers.
      noise_scale: factor of the noise level; the default is for ``log_snr / 4``, 1 for the argument of the published
        network.
      noise_channels: features of the noise level, even; its embedding has four times as many. None: ``channels``.
      cosine_first: whether the cosines of the noise level precede the sines.
      frequency_shift: 1: the lowest of the K frequencies is exactly 1e-4 of the highest; 0: ``1e-4 ** (1 - 1 / K)``.
      log_snr_range: empty, or two ends of ``noise_scale noise``, which is then a log-SNR in nats: the lowest becomes
        the timestep 1000, the highest 0.
      input_octaves: exponents n of ``sin(2^n pi x)``, ``cos(2^n pi x)``, further channels of the input.
      middle_attention: attention in the middle with a norm before it, without one, or none.
      learned_variance: whether the output has twice the channels of ``x``: the prediction, then a predicted variance.
      token_size: features of a conditioning token, of which there may be any number; None: no tokens.
      token_levels: levels, from 0, where a transformer follows each residual block.
      token_depth: blocks of a transformer.
      dropout: rate of dropout before the last convolution of a residual block, active with ``rngs={"dropout": key}``.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      attention: ``"xla"`` or ``"fused"``, see :func:`scorekit.networks.attention.attend`.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.

    Source: Dhariwal & Nichol 2021, "Diffusion models beat GANs on image synthesis" (https://arxiv.org/abs/2105.05233);
    Ho et al. 2020, "Denoising diffusion probabilistic models" (https://arxiv.org/abs/2006.11239); Kingma et al. 2021,
    "Variational diffusion models" (https://arxiv.org/abs/2107.00630); for the transformers Rombach et al. 2022
    (https://arxiv.org/abs/2112.10752).
    """

    channels: PositiveInt = 64
    multipliers: SomeSizes = (1, 2)
    blocks: NonNegativeInt = 1
    attention_levels: Levels = ()
    heads: PositiveInt = 4
    head_channels: PositiveInt | None = None
    film: Literal["scale_shift", "shift", "zero_shift"] = "scale_shift"
    residual_resampling: bool = True
    symmetric_padding: bool = True
    groups: PositiveInt = 32
    group_channels: PositiveInt = 4
    norm_epsilon: Positive[float] = 1e-5
    noise_scale: Positive[float] = 32.0
    noise_channels: PositiveInt | None = None
    cosine_first: bool = True
    frequency_shift: Fraction[float] = 0.0
    log_snr_range: Annotated[Sequence[float], Each(Between())] = ()
    input_octaves: Levels = ()
    middle_attention: Literal["normalised", "plain", "none"] = "normalised"
    learned_variance: bool = False
    token_size: PositiveInt | None = None
    token_levels: Levels = ()
    token_depth: PositiveInt = 1
    dropout: FractionBelowOne[float] = 0.0
    remat: bool = False
    attention: Implementation = "xla"
    presets: ClassVar = PRESETS
    spatial_axes: ClassVar[tuple[int, ...]] = (1, 2)

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
        """The output, float32 and shaped like ``x``, with ``learned_variance`` of twice the channels.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; 2 divides their sides for each level but one.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
          tokens: ``(B, T, token_size)``, a :class:`Masked` with booleans ``(B, T)`` of the tokens that are present, or
            None.
        """
        self._check_sizes(x)
        x, batch = jnp.asarray(x, jnp.float32), x.shape[0]
        context = embed_tokens(tokens, self.token_size, batch, norm=False)
        sizes = 4 * (self.noise_channels or self.channels), self.num_classes, self.vector_size
        conditioning = Conditioning(*sizes, noise_features=self._embed, name="conditioning")
        condition, last = conditioning(noise, labels, batch, vector), len(self.multipliers) - 1
        h = conv(self._with_octaves(x), self.channels * self.multipliers[0], self.dtype, "input")
        h = add_map(h, dense_map, self.map_shape, self.dtype, resized=True)

        def block(h: Array, part: str, level: int, i: int) -> Array:
            name = f"{part}{level}_{i}"
            h = self._residual(h, condition, level, f"{name}_block")
            h = self._attention(h, name) if level in self.attention_levels else h
            return self._transformer(h, context, name) if level in self.token_levels else h

        def middle(h: Array) -> Array:
            h = self._residual(h, condition, last, "middle_0_block")
            if context is not None:
                h = self._transformer(h, context, "middle_0")
            elif self.middle_attention != "none":
                h = self._attention(h, "middle_0", self.middle_attention == "normalised")
            return self._residual(h, condition, last, "middle_1_block")

        def resample(h: Array, part: str, level: int) -> Array:
            name = f"down{level}_halve" if part == "down" else f"up{level}_double"
            if self.residual_resampling:
                return self._residual(h, condition, level - (part == "down"), name, part)
            if part == "up":
                return upsample(h, self.dtype, name)
            return downsample(h, self.dtype, name, self.symmetric_padding)

        join = lambda h, skip: concatenated(h, skip.astype(h.dtype))
        h = u_net(h, last + 1, self.blocks, block, middle, resample, join)
        out = x.shape[-1] * (2 if self.learned_variance else 1)
        return conv(nn.silu(self._norm()(h, "norm")), out, jnp.float32, "output", 0.0)

    def _norm(self) -> Norm:
        return Norm(self.groups, self.group_channels, self.norm_epsilon)

    def _residual(self, h: Array, condition: Array, level: int, name: str, resample: str = "") -> Array:
        kind, width = nn.remat(ResidualBlock) if self.remat else ResidualBlock, self.channels * self.multipliers[level]
        return kind(width, self._norm(), self.dtype, self.dropout, 0.0, self.film, resample, name=name)(h, condition)

    def _attention(self, h: Array, name: str, normalised: bool = True) -> Array:
        kind, norm = nn.remat(Attention) if self.remat else Attention, self._norm() if normalised else None
        return kind(norm, self.dtype, 0.0, self._heads(h), self.attention, name=f"{name}_attention")(h)

    def _transformer(self, h: Array, context: Context | None, name: str) -> Array:
        if context is None:
            raise ValueError(f"token_levels must be empty for a network without tokens, got {tuple(self.token_levels)}")
        kind = nn.remat(SpatialTransformer) if self.remat else SpatialTransformer
        norm = self._norm()._replace(epsilon=1e-6)  # of all published ones, whatever the other norms have
        return kind(norm, self._heads(h), self.token_depth, self.dtype, name=f"{name}_tokens")(h, context)

    def _heads(self, h: Array) -> int:
        heads, rest = (self.heads, 0) if self.head_channels is None else divmod(h.shape[-1], self.head_channels)
        if rest or h.shape[-1] % heads:
            name, number = ("heads", heads) if self.head_channels is None else ("head_channels", self.head_channels)
            raise ValueError(f"{name} must divide the {h.shape[-1]} channels of attention, got {number}")
        return heads

    def _embed(self, noise: Array) -> Array:
        """``[cos(w_k t), sin(w_k t)]`` of the timestep, ``w_k = 10,000 ** (-k / (K - frequency_shift))``."""
        timestep = self.noise_scale * jnp.asarray(noise, jnp.float32)
        if self.log_snr_range:
            low, high = self.log_snr_range
            timestep = 1000 * ((high - timestep) / (high - low))
        half = (self.noise_channels or self.channels) // 2
        frequencies = np.float32(10_000.0 ** (-np.arange(half) / (half - self.frequency_shift)))
        angles = timestep[..., None] * frequencies
        waves = jnp.cos(angles), jnp.sin(angles)
        return jnp.concatenate(waves if self.cosine_first else waves[::-1], axis=-1)

    def _with_octaves(self, x: Array) -> Array:
        angles = [np.pi * 2.0**n * x for n in self.input_octaves]
        return jnp.concatenate([x, *map(jnp.sin, angles), *map(jnp.cos, angles)], axis=-1)

    def _check_sizes(self, x: Array) -> None:
        check_signal_or_image(x)
        levels, name = len(self.multipliers), "channels" if self.noise_channels is None else "noise_channels"
        features = self.noise_channels or self.channels
        if features % 2 or features / 2 <= self.frequency_shift:
            raise ValueError(
                f"{name} must be even, for the sines and cosines of the noise level, and more than 2 frequency_shift, "
                f"got {features}"
            )
        check_attention_levels(self.attention_levels, levels)
        check_attention_levels(self.token_levels, levels, "token_levels")
        if len(self.log_snr_range) not in (0, 2) or list(self.log_snr_range) != sorted({*self.log_snr_range}):
            raise ValueError(f"log_snr_range must be empty or two numbers, the lower first, got {self.log_snr_range}")
        check_sides(x.shape[1:-1], 2 ** (levels - 1))
