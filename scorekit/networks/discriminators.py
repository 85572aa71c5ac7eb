"""A discriminator on the features of a denoiser: a small head on layers of a network that is trained already."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import NonNegativeInt, PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._module import Module
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike

__all__ = ["FeatureDiscriminator"]


class FeatureDiscriminator(Module):
    """Logits at every position of some layers of a denoiser, conditioned by projection.

    Each layer has a head: with its features ``h`` and an embedding ``e`` of noise level and class,::

        h     = silu(conv(h))                          ``layers`` times, 3 taps an axis
        logit = w h + b + <V e, h> / sqrt(channels)

    where ``w``, ``b`` and ``V`` start at zero, and every logit with them. Features without positions have a dense layer
    in place of the convolution. Nothing is normalised per example: a norm would hide a wrong mean or contrast. With the
    features of a fixed teacher this is the discriminator of LADD, with those of the denoiser of the generator's samples
    that of DMD2.

    Attributes:
      channels: width of each head.
      layers: hidden layers of each head.

    >>> import jax
    >>> head = FeatureDiscriminator(channels=8, num_classes=10)
    >>> features = {"middle": jnp.ones((2, 4, 4, 16))}
    >>> params = jax.jit(head.init)(jax.random.key(0), features, jnp.zeros(2), jnp.array([3, 10]))
    >>> jax.jit(head.apply)(params, features, jnp.zeros(2), jnp.array([3, 10]))["middle"].shape
    (2, 4, 4)

    Source: Miyato & Koyama 2018 (https://arxiv.org/abs/1802.05637); Sauer et al. 2024 (https://arxiv.org/abs/2403.12015);
    Yin et al. 2024 (https://arxiv.org/abs/2405.14867).
    """

    channels: PositiveInt = 32
    layers: NonNegativeInt = 1
    num_classes: PositiveInt | None = None

    @nn.compact
    def __call__(
        self, features: Mapping[str, Array], noise: ArrayLike, labels: ArrayLike | None = None
    ) -> dict[str, Array]:
        """Evaluates the heads.

        Args:
          features: by layer, as :func:`scorekit.networks.features` gives them, ``(B, ..., C)``.

        Returns:
          By layer, float32 logits ``(B, ...)``, one for each position of its features.
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
