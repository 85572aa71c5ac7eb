"""Discriminators: heads on the features of a network that is trained already, and networks of sounds and images.

Discriminators of waveforms see several time scales (MelGAN); discriminators of random windows (GAN-TTS) take sounds or
images, and conditions. They return their features with the logits, for
:func:`scorekit.flow_maps.feature_matching_loss`. Weights are normalised, activations are leaky.

>>> import jax
>>> head, features = FeatureDiscriminator(channels=8, num_classes=10), {"middle": jnp.ones((2, 4, 4, 16))}
>>> params = jax.jit(head.init)(jax.random.key(0), features, jnp.zeros(2), jnp.array([3, 10]))
>>> jax.jit(head.apply)(params, features, jnp.zeros(2), jnp.array([3, 10]))["middle"].shape
(2, 4, 4)
>>> x = jnp.ones((2, 64, 1))
>>> at_scales = MultiScaleDiscriminator(channels=4, depth=2)
>>> found = DiscriminatorOutput(*jax.jit(at_scales.init_with_output)(jax.random.key(0), x)[0])
>>> [logits.shape for logits in found.logits]
[(2, 4), (2, 2), (2, 1)]
>>> of_windows, place = RandomWindowDiscriminator((16, 64), channels=4, depth=1), jnp.array([[[0.5], [0.0]]] * 2)
>>> found = jax.jit(of_windows.init_with_output)(jax.random.key(0), x, place)[0]
>>> [logits.shape for logits in found.logits]
[(2, 8), (2, 8)]
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegativeInt, PositiveInt
from scorekit.checks import check_between, check_floating
from scorekit.networks._module import Module, SomeSizes
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike


class FeatureDiscriminator(Module):
    """Logits at every position of some layers of a denoiser, conditioned by projection.

    Each layer has a head: with its features ``h`` and an embedding ``e`` of noise level and class,::

        h     = silu(conv(h))                          ``layers`` times, 3 taps an axis
        logit = w h + b + <V e, h> / sqrt(channels)

    where ``w``, ``b`` and ``V`` start at zero, and every logit with them. Features without positions have a dense layer
    in place of the convolution. Nothing is normalised per example: a norm would hide a wrong mean or contrast. With the
    features of a fixed teacher this is the discriminator of LADD; with the features of the denoiser of the generator's
    samples it is the discriminator of DMD2.

    Attributes:
      channels: width of each head.
      layers: hidden layers of each head.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.

    Source: Miyato & Koyama 2018 (https://arxiv.org/abs/1802.05637); Sauer et al. 2024
    (https://arxiv.org/abs/2403.12015); Yin et al. 2024 (https://arxiv.org/abs/2405.14867).
    """

    channels: PositiveInt = 32
    layers: NonNegativeInt = 1
    num_classes: PositiveInt | None = None

    @nn.compact
    def __call__(
        self, features: Mapping[str, Array], noise: ArrayLike, labels: ArrayLike | None = None
    ) -> dict[str, Array]:
        """Float32 logits ``(B, ...)`` by layer, from features ``(B, ..., C)`` as :func:`.features` gives them.

        Args:
          features: features ``(B, ..., C)`` of layers, by name.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
        """
        check_floating(features=features)
        shapes = {name: jnp.shape(h) for name, h in features.items()}
        if min(map(len, shapes.values())) < 2 or len({shape[0] for shape in shapes.values()}) > 1:
            raise ValueError(f"features must be arrays (B, ..., C) of one B, got shapes {shapes}")
        batch = next(iter(shapes.values()))[0]
        embedding = Conditioning(4 * self.channels, self.num_classes, name="conditioning")(noise, labels, batch)
        heads = {name: _Head(self.channels, self.layers, name=name.replace("/", "_")) for name in sorted(features)}
        return {name: head(jnp.asarray(features[name], jnp.float32), embedding) for name, head in heads.items()}


class _Head(nn.Module):
    channels: int
    layers: int

    @nn.compact
    def __call__(self, h: Array, embedding: Array) -> Array:
        rank, zeros = h.ndim - 2, nn.initializers.zeros
        for i in range(self.layers):
            layer = nn.Conv(self.channels, (3,) * rank, name=f"conv_{i}") if rank else nn.Dense(self.channels)
            h = nn.silu(layer(h))
        projected = nn.Dense(h.shape[-1], kernel_init=zeros, name="projection")(embedding) * h.shape[-1] ** -0.5
        logit = nn.Dense(1, kernel_init=zeros, name="logit")(h)[..., 0]
        return logit + jnp.sum(h * jnp.expand_dims(projected, range(1, 1 + rank)), axis=-1)


class DiscriminatorOutput(NamedTuple):
    """The output of several discriminators.

    Attributes:
      logits: one array ``(B, positions)`` for each discriminator, positive for data.
      features: the activations of its hidden layers, for each discriminator, first layer first.
    """

    logits: tuple[Array, ...]
    features: tuple[tuple[Array, ...], ...]


class MultiScaleDiscriminator(Module):
    """A convolutional discriminator, with separate parameters, at 1, 1/2, 1/4 … of the sample rate.

    The signal is halved by averages of 4 samples every 2. Each discriminator has a convolution of 15 taps, ``depth``
    grouped ones of ``10 factor + 1`` taps and stride ``factor``, one of 5 taps, and the logits, each of a window. The
    slope of activations is 0.2.

    Attributes:
      scales: number of discriminators.
      channels: channels of the first layer; they grow by ``factor`` from layer to layer.
      max_channels: bound of the channels, which grow from layer to layer.
      depth: number of strided convolutions.
      factor: stride of each.

    Source: Kumar et al. 2019, "MelGAN" (https://arxiv.org/abs/1910.06711), with zeros beyond the ends.
    """

    scales: PositiveInt = 3
    channels: PositiveInt = 16
    max_channels: PositiveInt = 1024
    depth: NonNegativeInt = 4
    factor: PositiveInt = 4

    @nn.compact
    def __call__(self, x: Array) -> DiscriminatorOutput:
        """Evaluates the discriminators.

        Args:
          x: waveforms ``(B, L, C)``, L at least ``2 ** scales``.
        """
        x = _signal(x, 2**self.scales)
        found = []
        for i in range(self.scales):
            found.append(self._logits_at(x, f"scale{i}"))
            x = nn.avg_pool(x, (4,), (2,), [(1, 1)], count_include_pad=False)  # type: ignore[arg-type]
            x = x.astype(jnp.float32)  # the number of samples in a window is counted in float64 under x64
        return DiscriminatorOutput(*zip(*found, strict=True))

    def _logits_at(self, h, name):
        features, width = [], self.channels
        h = _layer(features, h, width, (15,), name=f"{name}_input")
        for i in range(self.depth):
            groups = max(width // 4, 1) if width % 4 == 0 else 1
            width = min(width * self.factor, self.max_channels)
            groups = groups if width % groups == 0 else 1
            sizes = {"strides": (self.factor,), "feature_group_count": groups}
            h = _layer(features, h, width, (10 * self.factor + 1,), name=f"{name}_down{i}", **sizes)
        h = _layer(features, h, width, (5,), name=f"{name}_middle")
        logits = _normalised(1, (3,), name=f"{name}_logits")(h)
        return logits.reshape(h.shape[0], -1), tuple(features)


class RandomWindowDiscriminator(Module):
    """For each length of window a discriminator of one window of every example, at a random place, with conditions.

    A longer window is folded, ``f`` neighbours into ``f`` times the channels (``f^2`` in images), so that every
    discriminator has as many positions as the shortest window: their costs are alike, and the long ones see the
    conditions at work, the short ones the detail. ``depth`` convolutions of stride 2 follow one of stride 1. With an
    embedding ``e`` of class and vector the logits are ``w h + b + <V e, h> / sqrt(channels)``, as in
    :class:`FeatureDiscriminator`; without conditions ``w h + b``. A map of conditions is further channels of ``x``.

    Attributes:
      windows: lengths of the windows, along every axis; multiples of the first.
      channels: channels of the first layer; they double from layer to layer.
      max_channels: bound of the channels, which grow from layer to layer.
      depth: number of strided convolutions.
      num_classes: classes; None for none.
      vector_size: length of the conditioning vector; None for none.

    Source: Binkowski et al. 2019, "GAN-TTS" (https://arxiv.org/abs/1909.11646).
    """

    windows: SomeSizes = (256, 512, 1024)
    channels: PositiveInt = 32
    max_channels: PositiveInt = 256
    depth: NonNegativeInt = 3
    num_classes: PositiveInt | None = None
    vector_size: PositiveInt | None = None

    @nn.compact
    def __call__(
        self, x: Array, place: Array, labels: ArrayLike | None = None, vector: Any = None
    ) -> DiscriminatorOutput:
        """Evaluates the discriminators on ``x`` ``(B, L, C)`` or ``(B, H, W, C)``.

        Args:
          x: images ``(B, H, W, C)`` or signals ``(B, L, C)``.
          place: ``(B, windows, axes)`` in [0, 1]: 0 is a window at the beginning, 1 at the end.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
        """
        check_floating(x=x, place=place)
        check_between(0, 1, place=place)
        axes, first = x.ndim - 2, self.windows[0]
        if axes not in (1, 2) or min(x.shape[1:-1]) < max(self.windows):
            raise ValueError(f"x must be (B, L, C) or (B, H, W, C), at least {max(self.windows)} long, got {x.shape}")
        if any(window % first for window in self.windows):
            raise ValueError(f"windows must be multiples of the first, got {tuple(self.windows)}")
        if place.shape != (x.shape[0], len(self.windows), axes):
            raise ValueError(f"place must be {(x.shape[0], len(self.windows), axes)}, got {place.shape}")
        embedding = None
        if self.num_classes is not None or self.vector_size is not None:
            of_conditions = Conditioning(128, self.num_classes, self.vector_size, name="conditioning")
            embedding = of_conditions(0.0, labels, x.shape[0], vector)
        elif labels is not None or vector is not None:
            raise ValueError("labels and vector must be None without num_classes and vector_size")
        x, found = jnp.asarray(x, jnp.float32), []
        for i, window in enumerate(self.windows):
            folded = _folded(jax.vmap(_window, (0, 0, None))(x, place[:, i], window), window // first)
            found.append(self._logits(folded, embedding, f"window{i}"))
        return DiscriminatorOutput(*zip(*found, strict=True))

    def _logits(self, h, embedding, name):
        features, width, taps = [], self.channels, (3,) * (h.ndim - 2)
        h = _layer(features, h, width, taps, name=f"{name}_input")
        for i in range(self.depth):
            width = min(2 * width, self.max_channels)
            strides = (2,) * len(taps)
            h = _layer(features, h, width, tuple(2 * n - 1 for n in taps), name=f"{name}_down{i}", strides=strides)
        logits = _normalised(1, taps, name=f"{name}_logits")(h)[..., 0]
        if embedding is not None:
            of_class = nn.Dense(width, name=f"{name}_projection")(embedding) * width**-0.5
            logits += jnp.sum(h * jnp.expand_dims(of_class, range(1, h.ndim - 1)), axis=-1)
        return logits.reshape(h.shape[0], -1), tuple(features)


def _window(x, place, size):
    """The window of one example whose first position is at this fraction of those that it can have."""
    room = np.array(x.shape[:-1], np.int32) - size
    start = jnp.clip(jnp.floor(place * (room + 1)), 0, room).astype(jnp.int32)
    return jax.lax.dynamic_slice(x, (*start, jnp.int32(0)), (size,) * (x.ndim - 1) + x.shape[-1:])


def _folded(x, factor):
    """``factor`` neighbours along every axis as channels."""
    batch, *sizes, channels = x.shape
    split = x.reshape(batch, *(n for size in sizes for n in (size // factor, factor)), channels)
    axes = len(sizes)
    order = (0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)
    return split.transpose(order).reshape(batch, *(size // factor for size in sizes), channels * factor**axes)


def _layer(features, h, channels, taps, **sizes):
    """A convolution and its activation, which is noted among the features."""
    features.append(nn.leaky_relu(_normalised(channels, taps, **sizes)(h), 0.2))
    return features[-1]


def _normalised(channels, taps, *, name, **sizes):
    """A convolution whose kernel is a direction times a length, for each output channel."""
    return nn.WeightNorm(nn.Conv(channels, taps, name=name, **sizes), variable_filter={"kernel"}, name=f"{name}_norm")


def _signal(x, least):
    check_floating(x=x)
    if x.ndim != 3 or x.shape[1] < least:
        raise ValueError(f"x must have shape (B, L, C) with L at least {least}, got {x.shape}")
    return jnp.asarray(x, jnp.float32)
