"""A transformer encoder of text, as BERT and its small descendants such as MiniLM.

>>> network = TextEncoder(vocabulary=20, max_length=8, depth=1, width=8, heads=2, hidden=16)
>>> ids, mask = jnp.array([[2, 7, 3], [2, 3, 0]]), jnp.array([[True, True, True], [True, True, False]])
>>> params = jax.jit(network.init)(jax.random.key(0), ids, mask)
>>> found = TextFeatures(*jax.jit(network.apply)(params, ids, mask))
>>> found.states.shape, found.pooled.shape
((2, 3, 8), (2, 8))
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.core import Tracer

from scorekit.arguments import Positive, PositiveInt
from scorekit.checks import check_classes
from scorekit.networks._module import Module
from scorekit.networks._spatial import DType
from scorekit.typing import Array, ArrayLike


class TextFeatures(NamedTuple):
    """The output of a :class:`TextEncoder` for a batch of texts.

    Attributes:
      states: states of the tokens, float32 ``(B, T, width)``, for cross-attention; zero where there is no token.
      pooled: one vector of norm 1 for each text, float32 ``(B, width)``.
    """

    states: Array
    pooled: Array


class TextEncoder(Module):
    """BERT's encoder, and the pooling of Sentence-BERT.

    With ``norm`` a layer norm with parameters, the tokens ``h = norm(word[id] + position[0, 1, ...] + type[0])`` pass
    ``depth`` layers::

        h = norm(h + dense(softmax(q k^T / sqrt(width / heads)) v))
        h = norm(h + dense(gelu(dense(h))))

    with the exact GELU; no token attends to one that the mask leaves out. ``pooled`` is the mean of the states over
    the tokens of the mask, divided by its norm. The network is meant to be frozen, with parameters of
    :mod:`scorekit.io.formats.bert`; the defaults are the sizes of all-MiniLM-L6-v2.

    Attributes:
      vocabulary: number of different tokens.
      max_length: the largest number T of tokens of a text, the number of learned positions.
      depth: number of layers.
      width: features of a token; divisible by ``heads``.
      heads: number of attention heads.
      hidden: hidden features of the MLP.
      epsilon: added to the variance of a norm.
      dtype: dtype of the computation.

    Source: Devlin et al. 2019, "BERT" (https://arxiv.org/abs/1810.04805); Reimers & Gurevych 2019, "Sentence-BERT"
    (https://arxiv.org/abs/1908.10084); Wang et al. 2020, "MiniLM" (https://arxiv.org/abs/2002.10957).
    """

    vocabulary: PositiveInt = 30_522
    max_length: PositiveInt = 512
    depth: PositiveInt = 6
    width: PositiveInt = 384
    heads: PositiveInt = 12
    hidden: PositiveInt = 1536
    epsilon: Positive[float] = 1e-12
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, ids: ArrayLike, mask: ArrayLike) -> TextFeatures:
        """Encodes a batch of texts.

        Args:
          ids: integers ``(B, T)``, in ``[0, vocabulary)``; of padding, anything in this range.
          mask: booleans ``(B, T)``, True for tokens and False for padding; every text needs a token.
        """
        ids, mask = self._checked(ids, mask)
        h = nn.Embed(self.vocabulary, self.width, name="words")(ids)
        positions = self.param("positions", nn.initializers.normal(0.02), (self.max_length, self.width), jnp.float32)
        kind = self.param("kind", nn.initializers.normal(0.02), (self.width,), jnp.float32)
        h = self._norm("norm")(h + positions[: ids.shape[1]] + kind)
        for layer in range(self.depth):
            h = self._norm(f"norm{layer}_1")(h + self._attention(h, mask, layer))
            y = nn.Dense(self.hidden, dtype=self.dtype, name=f"fc{layer}_1")(h)
            y = nn.Dense(self.width, dtype=self.dtype, name=f"fc{layer}_2")(nn.gelu(y, approximate=False))
            h = self._norm(f"norm{layer}_2")(h + y)
        states = jnp.where(mask[..., None], h, 0.0)
        total = states.sum(1)  # the mean but for a factor, which the norm removes
        norm = jnp.sqrt(jnp.square(total).sum(-1, keepdims=True))
        return TextFeatures(states, total / jnp.maximum(norm, 1e-12))

    def _attention(self, h: Array, mask: Array, layer: int) -> Array:
        y = nn.Dense(3 * self.width, dtype=self.dtype, name=f"qkv{layer}")(h)
        y = y.reshape(*h.shape[:2], 3, self.heads, self.width // self.heads)
        y = jax.nn.dot_product_attention(y[:, :, 0], y[:, :, 1], y[:, :, 2], mask=mask[:, None, None, :])
        return nn.Dense(self.width, dtype=self.dtype, name=f"proj{layer}")(y.reshape(h.shape))

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(epsilon=self.epsilon, use_fast_variance=False, dtype=jnp.float32, name=name)

    def _checked(self, ids: ArrayLike, mask: ArrayLike) -> tuple[Array, Array]:
        """The arguments as arrays; raises ``ValueError`` for one out of range, or heads that do not fit."""
        if self.width % self.heads:
            raise ValueError(f"heads must divide width = {self.width}, got {self.heads}")
        shape = jnp.shape(ids)
        if len(shape) != 2 or not 1 <= shape[1] <= self.max_length:
            raise ValueError(f"ids must have shape (B, T), T from 1 to {self.max_length}, got {shape}")
        check_classes(self.vocabulary, ids=ids)
        if jnp.shape(mask) != shape or (mask := jnp.asarray(mask)).dtype != bool:
            raise ValueError(
                f"mask must be booleans {shape}, as ids are, got {jnp.shape(mask)} {jnp.result_type(mask)}"
            )
        if not isinstance(mask, Tracer) and not bool(mask.any(-1).all()):
            raise ValueError("mask must have a token for every text, got a text with none")
        return jnp.asarray(ids), mask
