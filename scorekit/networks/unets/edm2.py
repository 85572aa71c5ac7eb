"""The magnitude-preserving U-Net of EDM2."""

import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import FractionBelowOne, Positive, PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._conditions import as_labels, as_masked, per_example
from scorekit.networks._levels import check_heights, u_net
from scorekit.networks._magnitude import (
    MPConv,
    MPFourier,
    MPOrNull,
    mp_cat,
    mp_silu,
    mp_sum,
    normalise,
    normalise_weights,
    unit_normal,
)
from scorekit.networks._module import Conditioned, Published, Sizes, SomeSizes
from scorekit.networks._spatial import DType, embed_map
from scorekit.networks.attention import Attention, attend
from scorekit.typing import Array, ArrayLike

__all__ = ["EDM2", "PRESETS"]

_BALANCE = 0.3  # the share of a residual branch in the sum with its input

_CLIP = 256.0  # the largest absolute activation between blocks

_PUBLISHED = {"multipliers": (1, 2, 3, 4), "blocks": 3, "attention_resolutions": (16, 8), "num_classes": 1000}
_WIDTHS = {"xs": 128, "s": 192, "m": 256, "l": 320, "xl": 384, "xxl": 448}

PRESETS: Mapping[str, dict[str, Any]] = {
    f"{images}-{size}": {**_PUBLISHED, "channels": width, "dropout": 0.1 if width > 192 else 0.0}
    for images, sizes in {"img512": _WIDTHS, "img64": ("s", "m", "l", "xl")}.items()
    for size, width in _WIDTHS.items()
    if size in sizes
}
"""The published sizes: ``img512`` for 64 x 64 x 4 latents of images of side 512, ``img64`` for 64 x 64 x 3 images."""


class EDM2(Conditioned, Published):
    """U-Net without biases and group norms in which every layer preserves the magnitude of its input.

    All weights w are used as ``w / (1e-4 + rms(w)) / sqrt(fan_in)``, with the root mean square over the inputs of an
    output channel, and the sums, concatenations and nonlinearities keep unit variance. With
    the embedding ``e`` of noise level, class and vector, a block computes::

        x = normalise(shortcut(x))                                  (encoder; over the channels of a position)
        y = conv(silu(conv(silu(x)) (1 + gain dense(e))))
        x = mp_sum(x, y, 0.3)                                       (decoder: mp_sum(shortcut(x), y, 0.3))
        x = mp_sum(x, proj(attention(normalise(q), normalise(k), normalise(v))), 0.3)    (at chosen resolutions)

    The resolution halves by the mean of 2 x 2 positions and doubles by repetition. There are two blocks in the middle,
    the first with attention, and the blocks of the decoder take one skip connection each, by ``mp_cat``. The output is
    multiplied by a gain; gains start at zero. With
    ``noise_scale=1`` the network is called with ``log(sigma) / 4``, as the published ones.

    After each update, train with the weights normalised: ``project``
    (:func:`~scorekit.networks.normalise_weights`) is what :func:`scorekit.training.projected` takes, and the
    programs do so by themselves. The frequencies and phases of the noise level's random Fourier features are the
    collection ``constants`` of the variables.

    The embeddings of noise level, class and vector are summed and divided by the root of their number. A dense map is
    convolved and added to the first features by ``mp_sum(., ., 0.5)``. Null tokens have unit magnitude. Published
    checkpoints have none: converted, their null label is an embedding of zero.

    Attributes:
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level of the encoder; the decoder has one more.
      attention_resolutions: heights (of signals: lengths) in patches at which attention follows each residual block.
      head_channels: channels of an attention head.
      dropout: rate of dropout before the last convolution of a residual block, active with ``rngs={"dropout": key}``.
      noise_scale: factor of the noise level; the default is for ``log_snr / 4``, 1 for the argument of the published
        network.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      attention: ``"xla"`` or ``"fused"``, see :func:`scorekit.networks.attention.attend`.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector of unit magnitude; None: no vector.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.

    Source: Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models"
    (https://arxiv.org/abs/2312.02696), configuration G.
    """

    channels: PositiveInt = 64
    multipliers: SomeSizes = (1, 2)
    blocks: PositiveInt = 1
    attention_resolutions: Sizes = ()
    head_channels: PositiveInt = 64
    dropout: FractionBelowOne[float] = 0.0
    noise_scale: Positive[float] = 0.5
    remat: bool = False
    attention: Attention = "xla"
    presets: ClassVar = PRESETS
    spatial_axes: ClassVar[tuple[int, ...]] = (2,)
    project = staticmethod(normalise_weights)

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """The output, float32 and shaped like ``x``.

        Args:
          x: images ``(B, H, W, C)`` of unit variance; ``2 ** (levels - 1)`` divides H and W.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
        """
        self._check_sizes(x)
        x = jnp.asarray(x, jnp.float32)
        widths = [self.channels * m for m in self.multipliers]
        conditioning = _MPConditioning(
            max(widths), widths[0], self.noise_scale, self.num_classes, self.vector_size, name="conditioning"
        )
        given = as_masked("dense_map", dense_map, self.map_shape, x.shape[0])
        embedding = conditioning(noise, labels, x.shape[0], vector).astype(self.dtype)
        h = MPConv(widths[0], (3, 3), self.dtype, ones=True, name="input")(x)
        if given is not None:
            conv = functools.partial(MPConv, ones=True)
            h = mp_sum(h, embed_map(widths[0], self.dtype, given, x.shape[1:-1], conv, MPOrNull), 0.5)
        kind = nn.remat(_Block) if self.remat else _Block

        def block(h: Array, width: int, name: str, decoder: bool, attention: bool) -> Array:
            heads = width // self.head_channels if attention else 0
            return kind(width, decoder, heads, self.dtype, self.dropout, self.attention, name=name)(h, embedding)

        def numbered(h: Array, part: str, level: int, i: int) -> Array:
            return block(h, widths[level], f"{part}{level}_{i}", part == "up", h.shape[1] in self.attention_resolutions)

        def middle(h: Array) -> Array:
            return block(block(h, widths[-1], "middle_0", True, True), widths[-1], "middle_1", True, False)

        def resample(h: Array, part: str, level: int) -> Array:
            if part == "down":
                return block(_halved(h), h.shape[-1], f"down{level}_halve", False, False)
            return block(_doubled(h), h.shape[-1], f"up{level}_double", True, False)

        h = u_net(h, len(widths), self.blocks, numbered, middle, resample, mp_cat)
        gain = self.param("gain", nn.initializers.zeros, (), jnp.float32)
        return MPConv(x.shape[-1], (3, 3), name="output")(h, gain)

    def _check_sizes(self, x: Array) -> None:
        check_floating(x=x)
        if x.ndim != 4:
            raise ValueError(f"x must have shape (B, H, W, C), got {x.shape}")
        factors = (2,) * (len(self.multipliers) - 1)
        heights = check_heights(x, 1, factors, self.attention_resolutions)
        widths = [
            m for m, height in zip(self.multipliers, heights, strict=True) if height in self.attention_resolutions
        ]
        widths = [self.channels * m for m in (*widths, self.multipliers[-1])]
        if any(width % self.head_channels for width in widths):
            raise ValueError(
                f"head_channels must divide the channels where attention is, {', '.join(map(str, widths))}, "
                f"got {self.head_channels}"
            )


class _Block(nn.Module):
    """One block of :class:`EDM2`, followed by attention if there are heads."""

    features: int
    decoder: bool
    heads: int
    dtype: DType = jnp.float32
    dropout: float = 0.0
    attention: Attention = "xla"

    @nn.compact
    def __call__(self, x: Array, embedding: Array) -> Array:
        conv = lambda name, side, features=self.features: MPConv(features, (side, side), self.dtype, name=name)
        shortcut = conv("shortcut", 1) if x.shape[-1] != self.features else lambda x: x
        if not self.decoder:
            x = normalise(shortcut(x), -1)
        gain = self.param("gain", nn.initializers.zeros, (), jnp.float32)
        scale = 1 + MPConv(self.features, dtype=self.dtype, name="film")(embedding, gain)
        y = conv("conv_1", 3)(mp_silu(x)) * scale[:, None, None]
        y = nn.Dropout(self.dropout)(mp_silu(y), deterministic=not self.has_rng("dropout"))
        y = conv("conv_2", 3)(y)
        x = mp_sum(shortcut(x) if self.decoder else x, y, _BALANCE)
        if self.heads:
            qkv = conv("qkv", 1, 3 * self.features)(x).reshape(
                x.shape[0], -1, 3, self.heads, self.features // self.heads
            )
            q, k, v = jnp.moveaxis(normalise(qkv, -1), 2, 0)
            y = attend(q, k, v, self.attention).reshape(x.shape)
            x = mp_sum(x, conv("proj", 1)(y), _BALANCE)
        return jnp.clip(x, -_CLIP, _CLIP)


class _MPConditioning(nn.Module):
    """One embedding of the noise level, the class and the vector, each of unit magnitude:
    ``mp_silu((dense(fourier(c)) + table[label] + dense([vector, 1])) / sqrt(3))``, float32 ``(B, features)``.

    The table holds a dense layer on the class as a one-hot vector of unit magnitude.
    """

    features: int
    noise_features: int
    noise_scale: float
    num_classes: int | None
    vector_size: int | None

    @nn.compact
    def __call__(self, noise: ArrayLike, labels: ArrayLike | None, batch: int, vector: Any) -> Array:
        noise = self.noise_scale * per_example("noise", noise, batch)
        parts = [MPConv(self.features, name="noise")(MPFourier(self.noise_features, name="fourier")(noise))]
        labels = as_labels(labels, self.num_classes, batch)
        if labels is not None:
            table = self.param("labels", unit_normal, (self.num_classes, self.features), jnp.float32)
            null = self.param("null_label", unit_normal, (self.features, 1), jnp.float32)
            table = jnp.concatenate([normalise(table, 0), normalise(null, 0).T])
            parts.append(table.at[labels].get(mode="fill", fill_value=jnp.nan))
        shape = None if self.vector_size is None else (self.vector_size,)
        given = as_masked("vector", vector, shape, batch)
        if given is not None:
            embedded = MPConv(self.features, ones=True, name="vector")(given.value)
            parts.append(MPOrNull(name="vector_or_null")(embedded, given.present))
        return mp_silu(sum(parts[1:], parts[0]) / math.sqrt(len(parts)))


def _halved(x: Array) -> Array:
    """The mean of each 2 x 2 positions."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _doubled(x: Array) -> Array:
    """Each position repeated to 2 x 2."""
    return x.repeat(2, axis=1).repeat(2, axis=2)
