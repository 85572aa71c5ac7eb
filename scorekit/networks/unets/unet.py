"""A U-Net for images and signals, sized by its arguments."""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import NonNegativeInt, PositiveInt
from scorekit.networks._levels import ascend, concatenated
from scorekit.networks._module import Conditioned, Levels, Sizes, SomeSizes
from scorekit.networks._spatial import add_map, depth_to_space, resize_linear, space_to_depth
from scorekit.networks._tokens import embed_tokens
from scorekit.networks.attention import Attention
from scorekit.networks.embeddings import Conditioning
from scorekit.networks.unets._unet_blocks import GroupNorm, check_spatial_shape, encoder, factors, stage
from scorekit.typing import Array, ArrayLike

_GRID_CHANNELS = 16  # channels of the coarse grid of spatially varying conditioning


class UNet(Conditioned):
    """U-Net with residual blocks, adaptive group norm and self-attention at chosen resolutions.

    Noise level, class and vector condition each residual block by scale and shift of its second norm, equal at all
    positions. The resolution halves between levels by a strided 3 x 3 convolution and doubles by a 1 x 1 convolution
    followed by nearest-neighbour repetition, which costs a quarter of a convolution at the higher resolution (Hoogeboom
    et al. 2023, arXiv:2301.11093). Every residual branch ends in a convolution that starts at zero.

    A linear skip connects input and output around all levels: the first convolution times a gain per channel, which
    depends on the noise level and the class, is convolved to the output. What a linear filter of ``x`` predicts need
    not pass norms and nonlinearities; with patches the network learns that part late otherwise. ``filters`` turns the
    skip into an adaptive Wiener filter: a convolution of its own to that many channels, each with a gain that is
    predicted at every spatial position from the last features.

    Raw audio is long: ``patch`` consecutive samples become the channels of one position, and ``factors`` above 2 reach
    a low resolution in fewer levels. A map of much lower resolution is convolved before it is resized, and one of
    higher resolution is folded into channels.

    Tokens, such as the states of a text encoder, are attended to after each self-attention (Rombach et al.
    2022, arXiv:2112.10752) and, without self-attention, in ``token_levels``, behind a layer norm of the tokens.
    ``grid`` adds spatially varying conditioning: scales and shifts of the first features on a coarse grid, linearly
    interpolated, from which for instance the typical spectrum of a class is learned early.

    Attributes:
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level, in the encoder and in the decoder each.
      attention_resolutions: heights (of signals: lengths) in patches at which attention follows each residual block.
      heads: number of attention heads.
      patch: side of the patches that are folded into channels.
      factors: downsampling factor between consecutive levels; empty for 2 everywhere.
      grid: shape (H, W), of signals (L,), of the coarse grid of spatially varying conditioning; it spans ``x``
        of any size. Empty: conditioning does not vary in space.
      conditioning_layers: hidden layers after the sum of the embeddings of noise level, class and vector, in which
        these interact.
      filters: channels of the linear skip's own convolution; at least as many as a patch has values, so that the skip
        can represent the identity. 0: the skip starts at the first convolution.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      divergence: whether further channels, as many as of ``x``, are a divergence head
        (:mod:`scorekit.flow_maps.divergence`).
      attention: ``"xla"`` or ``"fused"``, see :func:`scorekit.networks.attention.attend`.
      token_size: features of a conditioning token, of which there may be any number; None: no tokens.
      token_levels: levels, from 0, that attend to tokens at any size of ``x``: a network that is trained on crops has
        them in place of ``attention_resolutions``.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.

    Source: Ronneberger, Fischer & Brox 2015 (https://arxiv.org/abs/1505.04597), with the residual blocks of Dhariwal &
    Nichol 2021 (https://arxiv.org/abs/2105.05233).
    """

    channels: PositiveInt = 32
    multipliers: SomeSizes = (1, 2)
    blocks: NonNegativeInt = 1
    attention_resolutions: Sizes = ()
    heads: PositiveInt = 1
    patch: PositiveInt = 1
    factors: Sizes = ()
    grid: Sizes = ()
    conditioning_layers: NonNegativeInt = 0
    filters: NonNegativeInt = 0
    remat: bool = False
    divergence: bool = False
    attention: Attention = "xla"
    token_size: PositiveInt | None = None
    token_levels: Levels = ()
    spatial_axes: ClassVar[tuple[int, ...]] = (1, 2)

    @nn.compact
    def __call__(
        self,
        x: Array,
        noise: ArrayLike,
        labels: ArrayLike | None = None,
        vector: Any = None,
        dense_map: Any = None,
        scalars: ArrayLike | None = None,
        tokens: Any = None,
    ) -> Array:
        """The output, float32 and shaped like ``x``, with ``divergence`` of twice the channels.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``; the patch and all factors divide their sides.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
          scalars: further scalar conditions of order one, ``(B,)`` or ``(B, K)``, such as the jump of a flow map, or
            None.
          tokens: ``(B, T, token_size)``, a :class:`Masked` with booleans ``(B, T)`` of the tokens that are present, or
            None.
        """
        check_spatial_shape(self, x)
        x, batch, rank = jnp.asarray(x, jnp.float32), x.shape[0], x.ndim - 2
        sizes = self.num_classes, self.vector_size, self.conditioning_layers
        conditioning = Conditioning(4 * self.channels, *sizes, name="conditioning")
        total = conditioning(noise, labels, batch, vector, scalars)
        x = space_to_depth(x, (self.patch,) * rank)
        h = nn.Conv(self.channels, (3,) * rank, dtype=self.dtype, name="input")(x)
        zeros = nn.initializers.zeros
        linear = nn.Conv(self.filters, (3,) * rank, use_bias=False, name="filters")(x) if self.filters else h
        factor = 1 + jnp.expand_dims(nn.Dense(linear.shape[-1], name="around_film")(total), range(1, 1 + rank))
        h = add_map(h, dense_map, self.map_shape, self.dtype)
        if self.grid:
            scale, shift = jnp.split(self._spatial_film(total, x.shape[1:-1]), 2, axis=-1)
            h = h * (1 + scale) + shift
        context = embed_tokens(tokens, self.token_size, batch)
        if not set(self.token_levels) <= set(range(len(self.multipliers))):
            levels = f"0 to {len(self.multipliers) - 1}"
            raise ValueError(f"token_levels must be levels from {levels}, got {tuple(self.token_levels)}")
        if context is not None and not (self.attention_resolutions or self.token_levels):
            raise ValueError("attention_resolutions or token_levels must not be empty for a network with tokens")
        h, skips = encoder(self, h, total, context, self.token_levels)
        widths = [self.channels * m for m in self.multipliers]

        def block(h: Array, level: int, i: int) -> Array:
            joined = concatenated(h, skips.pop())
            return stage(self, joined, total, widths[level], f"up{level}_{i}", context, level in self.token_levels)

        def double(h: Array, level: int) -> Array:
            h = nn.Conv(widths[level - 1], (1,) * rank, dtype=self.dtype, name=f"up{level}_double")(h)
            for axis in range(1, rank + 1):
                h = h.repeat(factors(self)[level - 1], axis=axis)
            return h

        h = ascend(h, len(widths), self.blocks, block, double)
        h = nn.silu(GroupNorm(name="norm")(h))
        if self.filters:
            factor = factor + nn.Conv(self.filters, (1,) * rank, dtype=self.dtype, name="gains")(h)
        skip = nn.Conv(x.shape[-1], (1,) * rank, kernel_init=zeros, name="around")(linear * factor)
        last = lambda name: nn.Conv(x.shape[-1], (3,) * rank, kernel_init=zeros, name=name)(h)
        heads = [skip + last("output"), *([last("divergence")] if self.divergence else [])]
        return jnp.concatenate([depth_to_space(head, (self.patch,) * rank) for head in heads], axis=-1)

    def _spatial_film(self, total: Array, shape: tuple[int, ...]) -> Array:
        """Scales and shifts ``(B, *shape, 2 channels)`` predicted from the conditions on the coarse grid."""
        if len(self.grid) != len(shape):
            raise ValueError(
                f"grid must hold {len(shape)} integers >= 1, one for each side of x, got {tuple(self.grid)}"
            )
        coarse = nn.Dense(_GRID_CHANNELS * math.prod(self.grid), name="grid_film")(total)
        coarse = resize_linear(coarse.reshape(-1, *self.grid, _GRID_CHANNELS), shape)
        return nn.Conv(2 * self.channels, (1,) * len(shape), dtype=self.dtype, name="grid")(coarse)
