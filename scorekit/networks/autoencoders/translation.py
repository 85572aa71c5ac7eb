"""An autoencoder of sounds with a decoder for each domain, whose latent a classifier of domains confuses.

One encoder learns from all domains, families of instruments for instance; the domain of a sound is in its decoder. The
loss of a classifier of latents reaches the encoder through :func:`reverse_gradient`, so that the encoder removes the
domain from the latent, and another decoder renders the same notes in its own domain.

>>> import jax
>>> network = TranslationNetwork(domains=3, data_channels=8, channels=16, latent_channels=4)
>>> x, domain = jnp.ones((2, 6, 8)), jnp.array([0, 2])
>>> params = jax.jit(network.init)(jax.random.key(0), x, domain)
>>> z = network.apply(params, x, method="encode")
>>> z.shape, network.apply(params, z, domain, method="decode").shape, network.apply(params, z, method="classify").shape
((2, 6, 4), (2, 6, 8), (2, 3))
>>> jax.grad(lambda x: 3.0 * reverse_gradient(x, 0.5))(1.0)
Array(-1.5, dtype=float32, weak_type=True)

Sources: Mor et al. 2018, "A universal music translation network" (https://arxiv.org/abs/1805.07848), with decoders of
one pass; Ganin et al. 2016, "Domain-adversarial training of neural networks" (https://arxiv.org/abs/1505.07818).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.arguments import Finite, NonNegativeInt, PositiveInt, checked
from scorekit.checks import check_classes, check_floating
from scorekit.networks._module import Module
from scorekit.typing import Array, ArrayLike, PyTree


@checked
def reverse_gradient(x: PyTree, scale: Finite[float] = 1.0) -> PyTree:
    """``x``, whose gradient is multiplied by ``-scale``: what follows is minimised, and maximised over ``x``.

    Args:
      x: arrays, or trees of them.
      scale: the weight of the adversary.
    """
    check_floating(x=x)
    return jax.tree.map(lambda leaf: _reversed(jnp.asarray(leaf), scale), x)


@jax.custom_jvp
def _reversed(x: Array, scale: ArrayLike) -> Array:
    return x


@_reversed.defjvp
def _reversed_tangent(primals, tangents):
    (x, scale), (dx, _) = primals, tangents
    return x, -jnp.asarray(scale, dx.dtype) * dx


class TranslationNetwork(Module):
    """One encoder, a decoder for each domain, and a classifier of domains.

    All three are residual blocks of ``gelu`` over three neighbouring frames, ``2^(i mod 3)`` frames apart in block i.
    The parameters of the decoders are stacked; each example is decoded by the decoder of its domain.

    Attributes:
      domains: number of domains, each with a decoder.
      data_channels: channels C of a frame.
      channels: width of the hidden layers.
      latent_channels: channels Z of the latent, of which there is one for each frame.
      blocks: residual blocks of each part.
    """

    domains: PositiveInt
    data_channels: PositiveInt
    channels: PositiveInt = 128
    latent_channels: PositiveInt = 16
    blocks: NonNegativeInt = 3

    def setup(self):
        part = lambda outputs: _Blocks(self.channels, outputs, self.blocks)
        self.encoder, self.classifier = part(self.latent_channels), part(self.domains)
        decoder = _Blocks(self.channels, self.data_channels, self.blocks, parent=None)
        example = jnp.zeros((1, 1, self.latent_channels))
        init = jax.vmap(lambda key: decoder.init(key, example)["params"])
        self.decoders = self.param("decoders", lambda key: init(jax.random.split(key, self.domains)))

    def __call__(self, x: Array, domain: ArrayLike, confusion: Finite[float] = 1.0) -> tuple[Array, Array]:
        """The reconstruction of frames, and the logits of their domains ``(B, domains)``.

        Args:
          x: frames ``(B, T, C)``.
          domain: the domain of each example, integers ``(B,)``.
          confusion: the gradient of the logits reaches the encoder times ``-confusion``.
        """
        z = self.encode(x)
        return self.decode(z, domain), self.classify(reverse_gradient(z, confusion))

    def encode(self, x: Array) -> Array:
        """The latents ``(B, T, Z)`` of frames, each with a mean square of 1 over its channels.

        Args:
          x: frames ``(B, T, C)``.
        """
        check_floating(x=x)
        if x.ndim != 3 or x.shape[-1] != self.data_channels:
            raise ValueError(f"x must be (B, T, {self.data_channels}), got {x.shape}")
        z = self.encoder(x)
        return z / jnp.sqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-6)

    def decode(self, z: Array, domain: ArrayLike) -> Array:
        """Frames ``(B, T, C)`` of latents, by the decoders of their domains.

        Args:
          z: latents ``(B, T, Z)``.
          domain: the domain of each example, integers ``(B,)``.
        """
        self._check_latents(z)
        check_classes(self.domains, domain=domain)
        domain = jnp.asarray(domain)
        if domain.shape != z.shape[:1]:
            raise ValueError(f"domain must be {z.shape[:1]}, one for each example, got {domain.shape}")
        decoder = _Blocks(self.channels, self.data_channels, self.blocks, parent=None)
        known = jnp.where((domain >= 0) & (domain < self.domains), domain, self.domains)
        own = lambda leaf: jnp.asarray(leaf).at[known].get(mode="fill", fill_value=jnp.nan)
        run = lambda params, z: decoder.apply({"params": params}, z[None])[0]
        return jax.vmap(run)(jax.tree.map(own, self.decoders), z)

    def classify(self, z: Array) -> Array:
        """The logits of the domain ``(B, domains)`` of latents: means over frames.

        Args:
          z: latents ``(B, T, Z)``.
        """
        self._check_latents(z)
        return self.classifier(z).mean(axis=1)

    def _check_latents(self, z: Array) -> None:
        check_floating(z=z)
        if z.ndim != 3 or z.shape[-1] != self.latent_channels:
            raise ValueError(f"z must be (B, T, {self.latent_channels}), got {z.shape}")


class _Blocks(nn.Module):
    """Residual blocks over neighbouring frames, as products: a stack of them is a product of batches."""

    channels: int
    outputs: int
    blocks: int

    @nn.compact
    def __call__(self, x: Array) -> Any:
        h = nn.Dense(self.channels, name="input")(_neighbours(jnp.asarray(x, jnp.float32), 1))
        for i in range(self.blocks):
            within = nn.gelu(nn.LayerNorm(name=f"norm_{i}")(h))
            h = h + nn.Dense(self.channels, name=f"block_{i}")(_neighbours(within, 2 ** (i % 3)))
        return nn.Dense(self.outputs, name="output")(nn.gelu(nn.LayerNorm(name="norm")(h)))


def _neighbours(h, distance):
    """Each frame, the frame before and the frame behind at a distance, 0 beyond the ends, as channels."""
    frames = h.shape[1]
    padded = jnp.pad(h, [(0, 0), (distance, distance), (0, 0)])
    return jnp.concatenate([padded[:, i * distance : i * distance + frames] for i in range(3)], axis=-1)
