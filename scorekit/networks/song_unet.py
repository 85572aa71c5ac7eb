"""DDPM++ and NCSN++: the U-Nets of the score SDE paper, which EDM trains as well."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from scorekit.checks import check, check_count, check_positive
from scorekit.networks._conditions import as_labels, as_masked, per_example
from scorekit.networks._resampling import DownsamplingConv, check_filter
from scorekit.networks._song_blocks import HALF, XAVIER, ZEROS, Block, dense, norm
from scorekit.networks._spatial import DType, embed_map
from scorekit.typing import Array, ArrayLike

__all__ = ["PRESETS", "SongUNet"]

_EMBEDDINGS = ("positional", "fourier")
"""The embeddings of the noise level that :class:`SongUNet` knows."""

_DDPMPP = {
    "channels": 128,
    "multipliers": (1, 2, 2, 2),
    "blocks": 4,
    "attention_resolutions": (16,),
    "dropout": 0.1,
    "noise_scale": 1.0,
}
_NCSNPP = {**_DDPMPP, "embedding": "fourier", "resample_filter": (1, 3, 3, 1), "residual_input": True}
_CIFAR10 = {"multipliers": (2, 2, 2), "dropout": 0.13, "vector_size": 9}
_FFHQ, _AFHQ = {"dropout": 0.05, "vector_size": 9}, {"dropout": 0.25, "vector_size": 9}

PRESETS: dict[str, dict[str, Any]] = {
    "ddpmpp": _DDPMPP,
    "ddpmpp-deep": {**_DDPMPP, "blocks": 8},
    "ncsnpp": _NCSNPP,
    "ncsnpp-deep": {**_NCSNPP, "blocks": 8},
    "ddpmpp-cifar10": {**_DDPMPP, **_CIFAR10},
    "ncsnpp-cifar10": {**_NCSNPP, **_CIFAR10},
    "ddpmpp-ffhq64": {**_DDPMPP, **_FFHQ},
    "ncsnpp-ffhq64": {**_NCSNPP, **_FFHQ},
    "ddpmpp-afhqv2-64": {**_DDPMPP, **_AFHQ},
    "ncsnpp-afhqv2-64": {**_NCSNPP, **_AFHQ},
}
"""Attributes of the published networks: the first four are those of the score SDE paper for CIFAR-10, the others those
of EDM, conditioned on its 9 labels of augmentation."""


class SongUNet(nn.Module):
    """DDPM++, and with other switches NCSN++: a U-Net of BigGAN's residual blocks.

    With ``s = silu(dense(silu(dense(embedding(c) + conditions))))``, a residual block computes::

        h = conv(resample(silu(norm(x)))) + dense(s)
        y = (shortcut(resample(x)) + conv0(dropout(silu(norm(h))))) / sqrt(2)

    and, at the chosen resolutions, ``(y + dense0(attention(norm(y)))) / sqrt(2)`` with a single head. ``resample``
    halves the resolution in the first block of an encoder's level, doubles it in that of a decoder's, and is the
    identity in the others. ``conv0`` and ``dense0`` start at zero, and so does the network: at initialisation the
    output is exactly zero (in the papers these layers start at 1e-10 or 1e-5 of the others).

    NCSN++ has ``embedding="fourier"``, ``resample_filter=(1, 3, 3, 1)`` and ``residual_input``: the image is filtered,
    halved and convolved from level to level and joins the features of each.

    The noise argument c of published networks, with ``noise_scale=1``: of DDPM++ as a VP model, 999 t; of NCSN++ as a
    VE model, log(sigma / 2) for data in [-1, 1] (the paper has data in [0, 1] and log(sigma)); of both in EDM's
    preconditioning, log(sigma) / 4. The output is the network of these preconditionings: the paper's division of NCSN++
    by sigma is not part of it.

    An absent class is the zero of a one-hot vector, and an absent vector is zero, as in EDM, whose labels of
    augmentation (:func:`scorekit.data.edm_augment`) are zero for images as they are: neither has a null token that is
    learned. A dense map, which the papers do not have, is resized and added to the first features.

    Parameters, norms, softmax and output are float32; ``dtype`` is that of the convolutions and of attention. The
    frequencies of the Fourier embedding are drawn once, in the collection ``constants`` of the variables.

    Attributes:
      channels: channels of the first level; norms have groups of at least 4 channels, 32 at most.
      multipliers: channels of each level as multiples of ``channels``; level i has size / 2^i.
      blocks: residual blocks per level of the encoder; the decoder has one more.
      attention_resolutions: heights at which attention follows each block of the encoder and the last of the decoder.
        The lowest level has one between its two blocks in the middle in any case.
      embedding: ``"positional"``, sines and cosines from 1 down to 1e-4 radians, or ``"fourier"``, of normal random
        frequencies.
      resample_filter: taps of the filter that halves and doubles the resolution.
      residual_input: whether the image joins the features of every level of the encoder.
      dropout: share of the features dropped in each block; active where ``apply`` is given an rng ``"dropout"``.
      num_classes: number of classes; label ``num_classes`` (or no labels) is no class. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) of a conditioning image, of any size; None: no map.
      dtype: dtype of the computation.
      noise_scale: factor of the noise level; the default is for ``log_snr / 4`` and the positional embedding.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).

    >>> network = SongUNet(channels=8, multipliers=(1, 2), attention_resolutions=(4,), num_classes=10)
    >>> x = jnp.ones((2, 8, 8, 1))
    >>> params = jax.jit(network.init)(jax.random.key(0), x, jnp.zeros(2))
    >>> jax.jit(network.apply)(params, x, jnp.zeros(2), jnp.array([3, 10])).shape
    (2, 8, 8, 1)

    Source: Song et al. 2021, "Score-based generative modeling through stochastic differential equations"
    (https://arxiv.org/abs/2011.13456); Karras et al. 2022 (https://arxiv.org/abs/2206.00364).
    """

    channels: int = 32
    multipliers: Sequence[int] = (1, 2)
    blocks: int = 1
    attention_resolutions: Sequence[int] = ()
    embedding: str = "positional"
    resample_filter: Sequence[int] = (1, 1)
    residual_input: bool = False
    dropout: float = 0.0
    num_classes: int | None = None
    vector_size: int | None = None
    map_shape: tuple[int, ...] | None = None
    dtype: DType = jnp.float32
    noise_scale: float = 32.0
    remat: bool = False
    spatial_axes: ClassVar[tuple[int, ...]] = (2,)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A published network, by its name in :data:`PRESETS`.

        Args:
          name: of the network.
          **changes: attributes with other values.

        Returns:
          The network, without parameters.

        Raises:
          ValueError: for an unknown name, listing those there are.

        >>> SongUNet.preset("ddpmpp-cifar10", num_classes=10).multipliers
        (2, 2, 2)
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
          x: images ``(B, H, W, C)``; H and W divisible by 2 to the number of levels less one.
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
        given = as_masked("dense_map", dense_map, self.map_shape, x.shape[0])
        s = self._embed(noise, labels, vector, x.shape[0])
        h = nn.Conv(self.channels, (3, 3), dtype=self.dtype, kernel_init=XAVIER, name="input")(x)
        if given is not None:
            h = h + embed_map(self.channels, self.dtype, given, x.shape[1:-1])
        h, skips = self._encode(x, h, s)
        widths = [self.channels * m for m in self.multipliers]
        h = self._block(widths[-1], "middle_0", attention=True)(h, s)
        h = self._block(widths[-1], "middle_1")(h, s)
        for level, width in reversed(list(enumerate(widths))):
            if level < len(widths) - 1:
                h = self._block(widths[level + 1], f"decoder{level}_up", "up")(h, s)
            for i in range(self.blocks + 1):
                attention = i == self.blocks and h.shape[1] in self.attention_resolutions
                h = self._block(width, f"decoder{level}_{i}", attention=attention)(
                    jnp.concatenate([h, skips.pop()], axis=-1), s
                )
        h = nn.silu(norm(h, "norm"))
        h = nn.Conv(x.shape[-1], (3, 3), dtype=self.dtype, kernel_init=ZEROS, name="output")(h)
        return h.astype(jnp.float32)

    def _encode(self, x: Array, h: Array, s: Array) -> tuple[Array, list[Array]]:
        """The encoder on the features ``h`` of ``x``: the features of the lowest level, and the skip connections."""
        skips, pyramid = [h], x
        for level, multiplier in enumerate(self.multipliers):
            if level:
                h = self._block(h.shape[-1], f"encoder{level}_down", "down")(h, s)
                if self.residual_input:
                    down = DownsamplingConv(
                        h.shape[-1], self.resample_filter, self.dtype, name=f"encoder{level}_pyramid"
                    )
                    h = pyramid = (h + down(pyramid)) * HALF
                skips.append(h)
            for i in range(self.blocks):
                attention = h.shape[1] in self.attention_resolutions
                h = self._block(self.channels * multiplier, f"encoder{level}_{i}", attention=attention)(h, s)
                skips.append(h)
        return h, skips

    def _embed(self, noise: ArrayLike, labels: ArrayLike | None, vector: Any, batch: int) -> Array:
        """The embedding ``s`` of noise level, class and vector, ``(B, 4 channels)``."""
        sizes = {"num_classes": self.num_classes, "vector_size": self.vector_size}
        check_count(**{name: size for name, size in sizes.items() if size is not None})
        noise = self.noise_scale * jnp.asarray(per_example("noise", noise, batch), jnp.float32)
        if self.embedding == "fourier":
            angles = _RandomFrequencies(self.channels, name="fourier")(noise)
        else:
            half = self.channels // 2
            angles = noise[:, None] * np.float32(10_000.0 ** (-np.arange(half) / (half - 1)))
        total = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        labels = as_labels(labels, self.num_classes, batch)
        if labels is not None and self.num_classes is not None:
            hot = jax.nn.one_hot(labels, self.num_classes) * math.sqrt(self.num_classes)
            hot = jnp.where((labels <= self.num_classes)[:, None], hot, jnp.nan)
            total += dense(total.shape[-1], "labels")(hot)
        value = as_masked("vector", vector, None if self.vector_size is None else (self.vector_size,), batch)
        if value is not None:
            total += dense(total.shape[-1], "vector", use_bias=False)(value.value)
        total = nn.silu(dense(4 * self.channels, "noise_in")(total))
        return nn.silu(dense(4 * self.channels, "noise_out")(total))

    def _block(self, features: int, name: str, resample: str = "", attention: bool = False) -> Block:
        """A residual block of this network, with attention after it."""
        kind = nn.remat(Block) if self.remat else Block
        return kind(features, tuple(self.resample_filter), resample, attention, self.dropout, self.dtype, name=name)

    def _check_sizes(self, x: Array) -> None:
        """Raises ``ValueError`` for an attribute out of range, or that does not fit ``x``."""
        if jnp.ndim(x) != 4 or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            raise ValueError(f"x must have shape (B, H, W, C) and be floating, got {jnp.shape(x)} {jnp.result_type(x)}")
        check_count(channels=self.channels, blocks=self.blocks)
        check_positive(noise_scale=self.noise_scale)
        check(lambda rate: (rate >= 0) & (rate < 1), "in [0, 1)", dropout=self.dropout)
        check_filter(self.resample_filter)
        if not self.multipliers:
            raise ValueError("multipliers must have at least one level, got ()")
        for multiplier in self.multipliers:
            check_count(multipliers=multiplier)
        if self.channels % 4:
            raise ValueError(f"channels must be a multiple of 4, got {self.channels}")
        if self.embedding not in _EMBEDDINGS:
            raise ValueError(f"embedding must be one of {', '.join(_EMBEDDINGS)}, got {self.embedding!r}")
        least = 2 ** (len(self.multipliers) - 1)
        if any(side % least for side in x.shape[1:-1]):
            raise ValueError(
                f"x must have a height and width divisible by {least} for {len(self.multipliers)} levels, got "
                f"{' x '.join(map(str, x.shape[1:-1]))}"
            )
        heights = [x.shape[1] // 2**level for level in range(len(self.multipliers))]
        if not set(self.attention_resolutions) <= set(heights):
            raise ValueError(
                f"attention_resolutions must be among the heights {heights} of the levels, "
                f"got {tuple(self.attention_resolutions)}"
            )


class _RandomFrequencies(nn.Module):
    """Angles ``2 pi w c`` ``(B, features)`` of noise levels ``(B,)``; the w of standard deviation 16 are constants."""

    features: int

    @nn.compact
    def __call__(self, noise: Array) -> Array:
        draw = lambda: 16.0 * jax.random.normal(self.make_rng("params"), (self.features,), jnp.float32)
        frequencies = self.variable("constants", "frequencies", draw).value
        return noise[:, None] * (2 * np.pi * lax.stop_gradient(frequencies))
