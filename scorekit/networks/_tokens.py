"""Cross-attention on the tokens of a condition, such as the states of a text encoder."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.networks._spatial import DType
from scorekit.networks.conditioning import ABSENT, Masked
from scorekit.typing import Array

Context = tuple[Array, Array | None]
"""Tokens ``(B, T, C)`` and booleans ``(B, T)``, of which each row has a True; None: all are present."""


def as_tokens(tokens: Any, size: int, batch: int) -> Masked:
    """Normalises tokens to float32 ``value`` ``(B, T, size)``, zero where absent, and ``present`` ``(B, T)``.

    They are an array (all present), a :class:`Masked` whose ``present`` is ``(B, T)``, ``(B,)`` or a boolean, or None.
    """
    tokens = ABSENT if tokens is None else tokens
    value, present = tokens if isinstance(tokens, Masked) else Masked(tokens)
    value, present = jnp.asarray(value, jnp.float32), jnp.asarray(present)
    value = jnp.broadcast_to(value, (1, size)) if value.ndim == 0 else value
    if value.shape[-1] != size or value.shape[:-2] not in ((), (batch,)) or value.ndim < 2 or 0 in value.shape:
        raise ValueError(f"tokens must have shape ({batch}, T, {size}), got {value.shape}")
    number = value.shape[-2]
    if present.dtype != bool or present.shape not in ((), (batch,), (batch, number)):
        allowed = f"a boolean, ({batch},) or ({batch}, {number}) booleans"
        raise ValueError(f"tokens.present must be {allowed}, got {present.shape} {present.dtype}")
    present = jnp.broadcast_to(present[:, None] if present.ndim == 1 else present, (batch, number))
    value = jnp.broadcast_to(value, (batch, number, size))
    return Masked(jnp.where(present[..., None], value, 0.0), present)


def embed_tokens(tokens: Any, size: int | None, batch: int, norm: bool = True) -> Context | None:
    """What a network attends to; None for one without tokens; for use in a compact method."""
    if size is None:
        if tokens is not None:
            raise ValueError("tokens must be None for a network that was built without them")
        return None
    return TokensOrNull(norm, name="tokens")(as_tokens(tokens, size, batch))


class TokensOrNull(nn.Module):
    """Layer norm of the tokens, behind a learned null token that is attended to only where no other is present."""

    norm: bool = True

    @nn.compact
    def __call__(self, tokens: Masked) -> Context:
        value, present = tokens
        if self.norm:
            value = nn.LayerNorm(use_fast_variance=False, dtype=jnp.float32, name="norm")(value)
        null = self.param("null", nn.initializers.normal(1.0), value.shape[-1:], jnp.float32)
        null = jnp.broadcast_to(null, (len(value), 1, *null.shape))
        absent = ~present.any(1, keepdims=True)
        return jnp.concatenate([null, value], 1), jnp.concatenate([absent, present], 1)


class TokenAttention(nn.Module):
    """``dense0(softmax(q k^T / sqrt(d)) v)``, queries of features ``(B, ..., C)``, keys and values of tokens."""

    heads: int
    dtype: DType = jnp.float32
    bias: bool = True

    @nn.compact
    def __call__(self, h: Array, context: Context) -> Array:
        tokens, mask = context
        batch, channels = h.shape[0], h.shape[-1]
        if channels % self.heads:
            raise ValueError(f"heads must divide the {channels} channels, got {self.heads}")
        split = lambda y, *kinds: y.reshape(batch, -1, *kinds, self.heads, channels // self.heads)
        dense = lambda features, name: nn.Dense(features, self.bias, dtype=self.dtype, name=name)
        query, pair = split(dense(channels, "q")(h)), split(dense(2 * channels, "kv")(tokens), 2)
        mask = None if mask is None else mask[:, None, None, :]
        y = jax.nn.dot_product_attention(query, pair[:, :, 0], pair[:, :, 1], mask=mask)
        zeros = nn.initializers.zeros
        return nn.Dense(channels, dtype=self.dtype, kernel_init=zeros, name="close")(y.reshape(h.shape))
