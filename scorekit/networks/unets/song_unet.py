"""DDPM++ and NCSN++: the U-Nets of the score SDE paper, which EDM trains as well."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from scorekit.arguments import Between, Each, FractionBelowOne, Positive, PositiveInt
from scorekit.networks._conditions import as_labels, as_masked, per_example
from scorekit.networks._levels import check_heights, u_net
from scorekit.networks._module import Conditioned, Published, Sizes, SomeSizes
from scorekit.networks._spatial import add_map
from scorekit.networks.unets._song_blocks import HALF, XAVIER, ZEROS, Block, DownsamplingConv, check_filter, dense, norm
from scorekit.typing import Array, ArrayLike

__all__ = ["PRESETS", "SongUNet"]

_DDPMPP = {"channels": 128, "multipliers": (1, 2, 2, 2), "blocks": 4, "attention_resolutions": (16,)}
_DDPMPP |= {"dropout": 0.1, "noise_scale": 1.0}
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


class SongUNet(Conditioned, Published):
    """DDPM++, and with other switches NCSN++: a U-Net of BigGAN's residual blocks.

    With ``s = silu(dense(silu(dense(embedding(c) + conditions))))``, a residual block computes::

        h = conv(resample(silu(norm(x)))) + dense(s)
        y = (shortcut(resample(x)) + conv0(dropout(silu(norm(h))))) / sqrt(2)

    and, at the chosen resolutions, ``(y + dense0(attention(norm(y)))) / sqrt(2)`` with a single head. ``resample``
    halves the resolution in the first block of a level of the encoder, doubles it in the first block of a level of the
    decoder, and is the identity in the other blocks. ``conv0``, ``dense0`` and the output start at zero; in the papers
    they start at 1e-10 or 1e-5 of the other weights.

    NCSN++ has ``embedding="fourier"``, ``resample_filter=(1, 3, 3, 1)`` and ``residual_input``: the image is filtered,
    halved and convolved from level to level and joins the features of each.

    The noise argument c of published networks, with ``noise_scale=1``: of DDPM++ as a VP model, 999 t; of NCSN++ as a
    VE model, log(sigma / 2) for data in [-1, 1] (the paper has data in [0, 1] and log(sigma)); of both in EDM's
    preconditioning, log(sigma) / 4. The output is the network of these preconditionings: the paper's division of NCSN++
    by sigma is not part of it.

    An absent class is the zero of a one-hot vector, and an absent vector is zero, as in EDM, whose labels of
    augmentation (:func:`scorekit.data.edm_augment`) are zero for images as they are: neither has a null token that is
    learned. The papers have no dense map.

    Attributes:
      channels: channels of the first level; norms have groups of at least 4 channels, 32 at most.
      multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
      blocks: residual blocks per level of the encoder; the decoder has one more.
      attention_resolutions: heights at which attention follows each block of the encoder and the last of the decoder.
        The lowest level has one between its two blocks in the middle in any case.
      embedding: ``"positional"``, sines and cosines from 1 down to 1e-4 radians, or ``"fourier"``, of normal random
        frequencies, which are drawn once, in the collection ``constants`` of the variables.
      resample_filter: taps of the filter that halves and doubles the resolution.
      residual_input: whether the image joins the features of every level of the encoder.
      dropout: rate of dropout before the last convolution of a residual block, active with ``rngs={"dropout": key}``.
      noise_scale: factor of the noise level; the default is for ``log_snr / 4``, 1 for the argument of the published
        network.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      num_classes: number of classes; label ``num_classes`` (or no labels) is no class. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      dtype: dtype of the computation.

    Source: Song et al. 2021, "Score-based generative modeling through stochastic differential equations"
    (https://arxiv.org/abs/2011.13456); Karras et al. 2022 (https://arxiv.org/abs/2206.00364).
    """

    channels: PositiveInt = 32
    multipliers: SomeSizes = (1, 2)
    blocks: PositiveInt = 1
    attention_resolutions: Sizes = ()
    embedding: Literal["positional", "fourier"] = "positional"
    resample_filter: Annotated[Sequence[float], Each(Between(), least=2)] = (1, 1)
    residual_input: bool = False
    dropout: FractionBelowOne[float] = 0.0
    noise_scale: Positive[float] = 32.0
    remat: bool = False
    presets: ClassVar = PRESETS
    spatial_axes: ClassVar[tuple[int, ...]] = (2,)

    @nn.compact
    def __call__(
        self, x: Array, noise: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> Array:
        """The output, float32 and shaped like ``x``.

        Args:
          x: images ``(B, H, W, C)``, H and W divisible by ``2 ** (levels - 1)``.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
        """
        self._check_sizes(x)
        x = jnp.asarray(x, jnp.float32)
        s = self._embed(noise, labels, vector, x.shape[0])
        h = nn.Conv(self.channels, (3, 3), dtype=self.dtype, kernel_init=XAVIER, name="input")(x)
        h = add_map(h, dense_map, self.map_shape, self.dtype)
        widths = [self.channels * m for m in self.multipliers]
        part_name, pyramid = {"down": "encoder", "up": "decoder"}, x

        def block(h: Array, part: str, level: int, i: int) -> Array:
            attends = h.shape[1] in self.attention_resolutions and (part == "down" or i == self.blocks)
            return self._block(widths[level], f"{part_name[part]}{level}_{i}", attention=attends)(h, s)

        def middle(h: Array) -> Array:
            return self._block(widths[-1], "middle_1")(self._block(widths[-1], "middle_0", attention=True)(h, s), s)

        def resample(h: Array, part: str, level: int) -> Array:
            nonlocal pyramid
            if part == "up":
                return self._block(widths[level], f"decoder{level - 1}_up", "up")(h, s)
            h = self._block(h.shape[-1], f"encoder{level}_down", "down")(h, s)
            if self.residual_input:
                down = DownsamplingConv(h.shape[-1], self.resample_filter, self.dtype, name=f"encoder{level}_pyramid")
                h = pyramid = (h + down(pyramid)) * HALF
            return h

        h = u_net(h, len(widths), self.blocks, block, middle, resample)
        h = nn.silu(norm(h, "norm"))
        h = nn.Conv(x.shape[-1], (3, 3), dtype=self.dtype, kernel_init=ZEROS, name="output")(h)
        return h.astype(jnp.float32)

    def _embed(self, noise: ArrayLike, labels: ArrayLike | None, vector: Any, batch: int) -> Array:
        """The embedding ``s`` of noise level, class and vector, ``(B, 4 channels)``."""
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
        kind = nn.remat(Block) if self.remat else Block
        return kind(features, tuple(self.resample_filter), resample, attention, self.dropout, self.dtype, name=name)

    def _check_sizes(self, x: Array) -> None:
        if jnp.ndim(x) != 4 or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            raise ValueError(f"x must have shape (B, H, W, C) and be floating, got {jnp.shape(x)} {jnp.result_type(x)}")
        check_filter(self.resample_filter)
        if self.channels % 4:
            raise ValueError(f"channels must be a multiple of 4, got {self.channels}")
        check_heights(x, 1, (2,) * (len(self.multipliers) - 1), self.attention_resolutions)


class _RandomFrequencies(nn.Module):
    """Angles ``2 pi w c`` ``(B, features)`` of noise levels ``(B,)``; the w of standard deviation 16 are constants."""

    features: int

    @nn.compact
    def __call__(self, noise: Array) -> Array:
        draw = lambda: 16.0 * jax.random.normal(self.make_rng("params"), (self.features,), jnp.float32)
        frequencies = self.variable("constants", "frequencies", draw).value
        return noise[:, None] * (2 * np.pi * lax.stop_gradient(frequencies))
