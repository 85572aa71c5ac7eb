"""The magnitude-preserving U-Net of EDM2."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax.numpy as jnp

from scorekit.checks import check, check_count, check_floating, check_positive
from scorekit.networks._conditions import as_labels, as_masked, per_example
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
from scorekit.networks._spatial import DType, embed_map
from scorekit.networks.attention import attend
from scorekit.typing import Array, ArrayLike

__all__ = ["EDM2", "PRESETS"]

_BALANCE = 0.3
"""The share of a residual branch in the sum with its input."""

_CLIP = 256.0
"""The largest absolute activation between blocks."""

_PUBLISHED = {"multipliers": (1, 2, 3, 4), "blocks": 3, "attention_resolutions": (16, 8), "num_classes": 1000}
_WIDTHS = {"xs": 128, "s": 192, "m": 256, "l": 320, "xl": 384, "xxl": 448}

PRESETS: Mapping[str, dict[str, Any]] = {
    f"{images}-{size}": {**_PUBLISHED, "channels": width, "dropout": 0.1 if width > 192 else 0.0}
    for images, sizes in {"img512": _WIDTHS, "img64": ("s", "m", "l", "xl")}.items()
    for size, width in _WIDTHS.items()
    if size in sizes
}
"""The published sizes: ``img512`` for 64 x 64 x 4 latents of images of side 512, ``img64`` for 64 x 64 x 3 images."""


class EDM2(nn.Module):
    """U-Net without biases and group norms in which every layer preserves the magnitude of its input.

    All weights w are used as ``w / (1e-4 + rms(w)) / sqrt(fan_in)``, with the root mean square over the inputs of an
    output channel, and the sums, concatenations and nonlinearities keep unit
    variance. With the embedding ``e`` of noise level, class and vector, a block computes::

        x = normalise(shortcut(x))                                  (encoder; over the channels of a position)
        y = conv(silu(conv(silu(x)) (1 + gain dense(e))))
        x = mp_sum(x, y, 0.3)                                       (decoder: mp_sum(shortcut(x), y, 0.3))
        x = mp_sum(x, proj(attention(normalise(q), normalise(k), normalise(v))), 0.3)    (at chosen resolutions)

    The resolution halves by the mean of 2 x 2 positions and doubles by repetition. There are two blocks in the middle,
    the first with attention, and the blocks of the decoder take one skip connection each, by ``mp_cat``. The output is
    multiplied by a gain; gains start at zero, and so the output is exactly zero at initialisation.

    After each update, train with the weights normalised: ``project``
    (:func:`~scorekit.networks.normalise_weights`) is what :func:`scorekit.training.projected` takes, and the
    programs do so by themselves. The frequencies and phases of the noise level's random Fourier features are the
    collection ``constants`` of the variables.

    The embeddings of noise level, class and vector are summed and divided by the root of their number. A dense map is
    convolved and added to the first features by ``mp_sum(., ., 0.5)``. Null tokens have unit magnitude. Published
    checkpoints have none: converted, their null label is an embedding of zero.

    Dropout is active when a random key is given: ``network.apply(variables, ..., rngs={"dropout": key})``.

    Parameters, norms of weights and positions, softmax and output are float32; ``dtype`` is that of the rest.

    Attributes:
      channels: channels of the first level.
      multipliers: channels of each level as multiples of ``channels``; level i has size / 2^i.
      blocks: blocks per level of the encoder; the decoder has one more.
      attention_resolutions: heights at which attention follows each block.
      head_channels: channels of an attention head.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector of unit magnitude; None: no vector.
      map_shape: shape (H, W, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.
      dropout: the rate, before the second convolution of each block.
      noise_scale: factor of the noise level; the default is for ``log_snr / 4``. With 1, the network may be called with
        ``log(sigma) / 4``, as the published ones.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).

    >>> import jax
    >>> network = EDM2(channels=8, multipliers=(1, 2), head_channels=8, num_classes=10)
    >>> x = jnp.ones((2, 8, 8, 1))
    >>> variables = jax.jit(network.init)(jax.random.key(0), x, jnp.zeros(2))
    >>> jax.jit(network.apply)(variables, x, jnp.zeros(2), jnp.array([3, 10])).shape
    (2, 8, 8, 1)

    Source: Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models"
    (https://arxiv.org/abs/2312.02696), configuration G.
    """

    channels: int = 64
    multipliers: Sequence[int] = (1, 2)
    blocks: int = 1
    attention_resolutions: Sequence[int] = ()
    head_channels: int = 64
    num_classes: int | None = None
    vector_size: int | None = None
    map_shape: tuple[int, ...] | None = None
    dtype: DType = jnp.float32
    dropout: float = 0.0
    noise_scale: float = 0.5
    remat: bool = False
    spatial_axes: ClassVar[tuple[int, ...]] = (2,)
    project = staticmethod(normalise_weights)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A network of a published size, with other attributes changed.

        Args:
          name: ``img512-xs``, ``-s``, ``-m``, ``-l``, ``-xl``, ``-xxl``; ``img64-s``, ``-m``, ``-l``, ``-xl``.
          changes: attributes.

        Returns:
          The network, without parameters.

        Raises:
          ValueError: for another name.

        >>> EDM2.preset("img512-xs", dtype=jnp.bfloat16).channels
        128
        """
        if name not in PRESETS:
            raise ValueError(f"name must be one of {', '.join(PRESETS)}, got {name!r}")
        return cls(**{**PRESETS[name], **changes})

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """Evaluates the network. None for a condition means that it is absent for all examples.

        Args:
          x: images ``(B, H, W, C)`` of unit variance; their sides divisible by ``2 ** (levels - 1)``.
          noise: noise level, scalar or ``(B,)``; of order one (for example ``log_snr / 4``, clipped).
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`~scorekit.networks.conditioning.Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`~scorekit.networks.conditioning.Masked`, or None.

        Returns:
          float32, shaped like ``x``.

        Raises:
          ValueError: for an input or condition of the wrong shape or dtype, or an attribute out of range.
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
            h = mp_sum(h, embed_map(widths[0], self.dtype, given, x.shape[1:-1], _map_conv, MPOrNull), 0.5)
        kind = nn.remat(_Block) if self.remat else _Block

        def block(h, width, name, decoder, attention):
            heads = width // self.head_channels if attention else 0
            return kind(width, decoder, heads, self.dtype, self.dropout, name=name)(h, embedding)

        attended = lambda h: h.shape[1] in self.attention_resolutions
        skips = [h]
        for level, width in enumerate(widths):
            if level:
                h = block(_halved(h), h.shape[-1], f"down{level}_halve", decoder=False, attention=False)
                skips.append(h)
            for i in range(self.blocks):
                h = block(h, width, f"down{level}_{i}", decoder=False, attention=attended(h))
                skips.append(h)
        h = block(h, widths[-1], "middle_0", decoder=True, attention=True)
        h = block(h, widths[-1], "middle_1", decoder=True, attention=False)
        for level, width in reversed(list(enumerate(widths))):
            for i in range(self.blocks + 1):
                h = block(mp_cat(h, skips.pop()), width, f"up{level}_{i}", decoder=True, attention=attended(h))
            if level:
                h = block(_doubled(h), width, f"up{level}_double", decoder=True, attention=False)
        gain = self.param("gain", nn.initializers.zeros, (), jnp.float32)
        return MPConv(x.shape[-1], (3, 3), name="output")(h, gain)

    def _check_sizes(self, x: Array) -> None:
        """Raises ``ValueError`` for an attribute out of range, or that does not fit ``x``."""
        check_floating(x=x)
        if x.ndim != 4:
            raise ValueError(f"x must have shape (B, H, W, C), got {x.shape}")
        check_count(channels=self.channels, blocks=self.blocks, head_channels=self.head_channels)
        check_positive(noise_scale=self.noise_scale)
        check(lambda rate: (rate >= 0) & (rate < 1), "in [0, 1)", dropout=self.dropout)
        for multiplier in self.multipliers:
            check_count(multipliers=multiplier)
        levels = len(self.multipliers)
        if not levels or any(side % 2 ** (levels - 1) for side in x.shape[1:-1]):
            sides = " x ".join(map(str, x.shape[1:-1]))
            raise ValueError(
                f"multipliers must have 1 + n entries, one for each level, with the sides of x, {sides}, divisible by "
                f"2^n; got {tuple(self.multipliers)}"
            )
        heights = [x.shape[1] // 2**level for level in range(levels)]
        if not set(self.attention_resolutions) <= set(heights):
            raise ValueError(
                f"attention_resolutions must be among the heights {heights} of the levels, "
                f"got {tuple(self.attention_resolutions)}"
            )
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
            x = mp_sum(x, conv("proj", 1)(attend(q, k, v).reshape(x.shape)), _BALANCE)
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
        sizes = {"num_classes": self.num_classes, "vector_size": self.vector_size}
        check_count(**{name: size for name, size in sizes.items() if size is not None})
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
    """The mean of each 2 x 2 positions.

    >>> _halved(jnp.arange(4.0).reshape(1, 2, 2, 1)).shape
    (1, 1, 1, 1)
    """
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _doubled(x: Array) -> Array:
    """Each position repeated to 2 x 2.

    >>> _doubled(jnp.ones((1, 1, 2, 1))).shape
    (1, 2, 4, 1)
    """
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _map_conv(features: int, window: Sequence[int], dtype: DType, name: str) -> MPConv:
    return MPConv(features, window, dtype, ones=True, name=name)
