"""A residual multilayer perceptron for vectors, and encoders of its conditions."""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import FractionBelowOne, NonNegativeInt, PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._conditions import OrNull, as_masked
from scorekit.networks._module import Conditioned
from scorekit.networks._tokens import as_tokens
from scorekit.networks.causal.causal_wavenet import CausalWaveNet
from scorekit.networks.conditioning import Masked
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array, ArrayLike


class MLP(Conditioned):
    """Residual network for vectors, conditioned by scale and shift of its layer norms.

    Each block is ``h + dense0(silu(dense(norm(h) (1 + scale) + shift)))``, where ``dense0`` starts at zero, and so
    does the output layer.

    With ``encoder_blocks`` the conditions have encoders, whose outputs are added: residual blocks for the vector; for
    the tokens, a set of any size, the same blocks with the mean of the set in each (a deep set); for a map ``(T, C)``,
    a sequence, a causal WaveNet with the mean over positions. Without encoders the vector has a linear map.

    Attributes:
      features: width, even and at least 4.
      blocks: number of residual blocks.
      token_size: features of an element of a set; None: no set. It needs ``encoder_blocks``.
      encoder_blocks: residual blocks of the encoders of conditions; 0 for none.
      scales: number n of further scales on which encoders of vectors and sets see every entry v, as ``asinh(4^k v) /
        asinh(4^k)``, k = 1 … n: for observations whose spread varies by orders of magnitude.
      dropout: rate of dropout in each residual block of the network.
      divergence: whether further channels, as many as of ``x``, are a divergence head
        (:mod:`scorekit.flow_maps.divergence`).
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_shape: shape (H, W, C) of a conditioning image or dense map, which is flattened; None: no map.
      dtype: dtype of the computation.

    Source of deep sets: Zaheer et al. 2017 (https://arxiv.org/abs/1703.06114).
    """

    features: PositiveInt = 128
    blocks: NonNegativeInt = 3
    token_size: PositiveInt | None = None
    encoder_blocks: NonNegativeInt = 0
    scales: NonNegativeInt = 0
    dropout: FractionBelowOne[float] = 0.0
    divergence: bool = False
    spatial_axes: ClassVar[tuple[int, ...]] = (0,)

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
        """The output, float32 and shaped like ``x``, with ``divergence`` of twice the features.

        Args:
          x: vectors ``(B, D)``.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.
          scalars: further scalar conditions of order one, ``(B,)`` or ``(B, K)``, such as the jump of a flow map, or
            None.
          tokens: ``(B, T, token_size)``, a :class:`Masked` with booleans ``(B, T)`` of the tokens that are present, or
            None.
        """
        check_floating(x=x)
        if x.ndim != 2:
            raise ValueError(f"x must have shape (B, D), got {x.shape}")
        x, batch = jnp.asarray(x, jnp.float32), x.shape[0]
        given = as_masked("dense_map", dense_map, self.map_shape, batch)
        size, embedded = self.vector_size, None
        if self.encoder_blocks:
            observed = as_masked("vector", vector, None if size is None else (size,), batch)
            embedded = self._encoded(observed, given, tokens, batch)
            given = None if self.map_shape is not None and len(self.map_shape) == 2 else given
            vector, size = embedded, None if embedded is None else self.features
        elif self.token_size is not None or tokens is not None:
            raise ValueError("tokens must be None for an MLP without token_size and encoder_blocks")
        conditioning = Conditioning(self.features, self.num_classes, size, name="conditioning")
        total = conditioning(noise, labels, batch, vector, scalars)
        h = nn.Dense(self.features, dtype=self.dtype, name="input")(x)
        if embedded is not None:
            h = h + nn.Dense(self.features, dtype=self.dtype, name="given")(embedded)
        if given is not None:
            embedded = nn.Dense(self.features, dtype=self.dtype, name="map")(given.value.reshape(batch, -1))
            h = h + OrNull(name="map_or_null")(embedded, given.present)
        for i in range(self.blocks):
            scale, shift = jnp.split(nn.Dense(2 * self.features, name=f"film_{i}")(total), 2, -1)
            norm = nn.LayerNorm(use_scale=False, use_bias=False, dtype=jnp.float32, name=f"norm_{i}")
            y = norm(h) * (1 + scale) + shift
            y = nn.Dense(self.features, dtype=self.dtype, name=f"dense_{i}")(y)
            zeros = nn.initializers.zeros
            y = nn.silu(y)
            if self.dropout:
                y = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(y)
            y = nn.Dense(self.features, dtype=self.dtype, kernel_init=zeros, name=f"close_{i}")(y)
            h = h + y
        h = nn.silu(nn.LayerNorm(dtype=jnp.float32, name="norm_out")(h))
        heads = ("output", "divergence") if self.divergence else ("output",)
        zeros = nn.initializers.zeros
        return jnp.concatenate([nn.Dense(x.shape[-1], kernel_init=zeros, name=name)(h) for name in heads], axis=-1)

    def _encoded(self, vector: Masked | None, given: Masked | None, tokens: Any, batch: int) -> Array | None:
        """The sum of what the encoders make of the conditions, ``(B, features)``; None without conditions."""
        found: list[Array] = []
        encoder = lambda name: _Encoder(self.features, self.encoder_blocks, self.scales, name=name)
        if vector is not None:
            found.append(OrNull(name="vector_or_null")(encoder("vector")(vector.value), vector.present))
        if self.token_size is not None:
            value, present = as_tokens(tokens, self.token_size, batch)
            found.append(OrNull(name="tokens_or_null")(encoder("tokens")(value, present), present.any(1)))
        if given is not None and given.value.ndim == 3:
            layers = 2 * self.encoder_blocks
            sizes = {"channels": max(self.features // 4, 1), "layers": layers, "cycle": layers, "shifted": False}
            network = CausalWaveNet(self.features, dtype=self.dtype, name="sequence", **sizes)
            found.append(OrNull(name="sequence_or_null")(network(given.value).mean(1), given.present))
        return sum(found[1:], found[0]) if found else None


class _Encoder(nn.Module):
    """``h + dense0(silu(dense(norm(h)) + dense(mean h)))`` in each block, the mean of a set; of a vector without it.

    An element of a set is seen with its distance from the mean of the set. The result of a set is a dense layer of the
    mean of ``h`` and the logarithm of the number of elements.
    """

    features: int
    blocks: int
    scales: int

    @nn.compact
    def __call__(self, value: Array, present: Array | None = None) -> Array:
        """Embeds vectors ``(B, C)``, or sets ``(B, T, C)`` of the elements that are ``present`` ``(B, T)``."""
        count = None if present is None else jnp.maximum(present.sum(1), 1)[:, None].astype(jnp.float32)

        def mean(h: Array) -> Array:
            assert present is not None
            assert count is not None
            return jnp.where(present[..., None], h, 0.0).sum(1, keepdims=True) / count[..., None]

        seen = [value]
        if present is not None:
            seen.append(value - mean(value))
        last = seen[-1]
        seen += [jnp.arcsinh(4.0**k * last) / math.asinh(4.0**k) for k in range(1, self.scales + 1)]
        h = nn.Dense(self.features, name="input")(jnp.concatenate(seen, axis=-1))
        for i in range(self.blocks):
            y = nn.Dense(self.features, name=f"dense_{i}")(nn.LayerNorm(name=f"norm_{i}")(h))
            if present is not None:
                y = y + nn.Dense(self.features, use_bias=False, name=f"mean_{i}")(mean(h))
            zeros = nn.initializers.zeros
            h = h + nn.Dense(self.features, kernel_init=zeros, name=f"close_{i}")(nn.silu(y))
        if present is None or count is None:
            return h
        return nn.Dense(self.features, name="output")(
            jnp.concatenate([mean(nn.silu(h))[:, 0], jnp.log(count)], axis=-1)
        )
