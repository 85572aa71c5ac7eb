"""A causal transformer with full, local or strided attention, sized by its arguments."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.arguments import Positive, PositiveInt
from scorekit.checks import nan_unless
from scorekit.networks._conditions import along_positions
from scorekit.networks._module import check_widths, modulated, scanned
from scorekit.networks._spatial import DType
from scorekit.networks.attention import Attention
from scorekit.networks.causal._causal import (
    CausalNetwork,
    EmbeddedMap,
    Pattern,
    ShiftedInputs,
    attends,
    causal_attention,
    relative_logits,
)
from scorekit.networks.embeddings import Conditioning, timestep_features
from scorekit.typing import Array


class CausalTransformer(CausalNetwork):
    """An autoregressive transformer whose norms are conditioned as in DiT (adaLN-Zero).

    Codes or values x are embedded as ``h_i = embed(x_{i - 1}) + position_i + map(m_i)``, with a learned vector in
    place of the input before the first, so that the output at i depends on the inputs before i alone. Blocks and output
    are as of :class:`~scorekit.networks.DiT`, in one scan over their stacked parameters ``blocks``.

    Position i attends to all positions up to its own (``pattern="full"``), or to the last ``window`` and its own
    (``"local"``). With ``"strided"`` half of the heads are local and half attend to every ``window``-th position back
    from its own: two layers connect all positions. The sparse patterns compute no weights that are zero except in a
    block's corner: ``2 l L`` and ``L^2 / l`` products in place of ``L^2``, least for a window l near ``sqrt(L)``; for a
    flattened image or spectrogram l is the length of a row. Positions are sines and cosines of i, with ``"strided"`` of
    row ``i // l`` and column ``i mod l``.

    With ``relative`` R, logits of position i for position j also have ``q_i . e_min(i - j, R - 1) / sqrt(d)``, where e
    are embeddings of distances, learned for each head and block, as in the Music Transformer.

    ``init_state`` and ``step`` compute one position from the cached keys and values of those before: memory and the
    cost of a position are linear in the length.

    Attributes:
      outputs: features of the output at each position, such as :attr:`scorekit.autoregressive.Categorical.num_outputs`.
      num_codes: number of codes of the inputs ``(B, L)``; None: the inputs are values ``(B, L, C)``.
      depth: number of blocks.
      width: features of a token; divisible by ``heads`` and by 2, with "strided" by 4.
      heads: number of attention heads; with "strided" at least 2.
      mlp_ratio: hidden features of the MLP over ``width``.
      pattern: "full", "local" or "strided".
      window: l, the window of "local" and the stride of "strided".
      attention: ``"xla"`` or ``"fused"``, see :func:`scorekit.networks.attention.attend`.
      relative: R, distances with an embedding of their own; None is without. Only with "full" and ``attention="xla"``.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_size: features of a map with a row for each position; None: no map.
      dtype: dtype of the computation.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      dropout: dropout rate of the embedded inputs and of the output of each block's branches.
      shifted: False: position i sees its own input too, and inputs may have a noise level each
        (:mod:`scorekit.forcing`).

    Source: Child et al. 2019, "Generating long sequences with sparse transformers" (https://arxiv.org/abs/1904.10509);
    Peebles & Xie 2023 (https://arxiv.org/abs/2212.09748) for the conditioning; Huang et al. 2018, "Music Transformer"
    (https://arxiv.org/abs/1809.04281) for ``relative``.
    """

    outputs: PositiveInt = 256
    num_codes: PositiveInt | None = None
    depth: PositiveInt = 6
    width: PositiveInt = 128
    heads: PositiveInt = 4
    mlp_ratio: Positive[float] = 4.0
    pattern: Pattern = "full"
    window: PositiveInt = 64
    attention: Attention = "xla"
    relative: PositiveInt | None = None

    def setup(self):
        """The parts that all positions at once and one at a time share."""
        self._check_sizes()
        self.conditioning = Conditioning(self.width, self.num_classes, self.vector_size)
        self.inputs = ShiftedInputs(self.width, self.num_codes, self.dtype, self.shifted)
        self.map = EmbeddedMap(self.width, self.map_size, self.dtype)
        blocks = scanned(_CausalBlock, self.depth, self.remat, self.is_initializing())
        hidden = int(self.mlp_ratio * self.width)
        sizes = self.width, self.heads, hidden, self.pattern, self.window
        self.blocks = blocks(*sizes, self.dtype, self.dropout, self.attention, self.relative)
        self.drop = nn.Dropout(self.dropout)
        self.output_modulation = nn.Dense(2 * self.width, kernel_init=nn.initializers.zeros)
        self.output = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    def _cache(self, batch: int, length: int) -> tuple[Array, Array]:
        shape = (self.depth, batch, length, self.heads, self.width // self.heads)
        return jnp.zeros(shape, self.dtype), jnp.zeros(shape, self.dtype)

    def _run(self, h, local, condition, cache, index):
        """The blocks on ``(B, L, width)``; with a cache, on the position ``index`` alone."""
        within = cache is None or index < cache[0].shape[2]
        index = jnp.arange(h.shape[1]) if cache is None else index[None]
        if self.pattern == "strided":
            places = [timestep_features(i, self.width // 2) for i in (index // self.window, index % self.window)]
            place = jnp.concatenate(places, axis=-1)
        else:
            place = timestep_features(index, self.width)
        h = h + place.astype(h.dtype) + (0 if local is None else local)
        h = self.drop(h, deterministic=not self.has_rng("dropout"))
        (h, cache, _), _ = self.blocks((h, cache, jnp.zeros((), jnp.int32)), condition, index)
        shift, scale = jnp.split(self.output_modulation(along_positions(condition)), 2, axis=-1)
        output = self.output(modulated(h, shift, scale))
        return output if cache is None else nan_unless(within, output), cache

    def _check_sizes(self) -> None:
        least = 4 if self.pattern == "strided" else 2
        check_widths(self.width, self.heads, least, self.mlp_ratio)
        if self.relative is not None and (self.pattern != "full" or self.attention != "xla"):
            raise ValueError(
                f"relative must be None except with pattern full and attention xla, got {self.relative} with "
                f"{self.pattern} and {self.attention}"
            )
        if self.pattern == "strided" and self.heads < 2:
            raise ValueError(f"heads must be at least 2 with the strided pattern, got {self.heads}")


class _CausalBlock(nn.Module):
    """One block of :class:`CausalTransformer`, the body of a scan that carries the keys and values of all blocks."""

    width: int
    heads: int
    hidden: int
    pattern: str
    window: int
    dtype: DType
    dropout: float
    attention: Attention = "xla"
    relative: int | None = None

    @nn.compact
    def __call__(self, carry, condition, index):
        h, cache, block = carry
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        dense = lambda features, name: nn.Dense(
            features, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform(), name=name
        )
        modulate = nn.Dense(6 * self.width, kernel_init=nn.initializers.zeros, name="modulation")
        modulation = modulate(along_positions(condition))
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = jnp.split(modulation, 6, axis=-1)
        qkv = dense(3 * self.width, "qkv")(modulated(h, shift_1, scale_1))
        qkv = qkv.reshape(*h.shape[:2], 3, self.heads, self.width // self.heads)
        query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        distances = None
        if self.relative is not None:
            shape = (self.relative, self.heads, self.width // self.heads)
            distances = self.param("distances", nn.initializers.normal(0.1), shape, jnp.float32).astype(self.dtype)
        if cache is None:
            bias = None if distances is None else relative_logits(query, distances)
            y = causal_attention(query, key, value, self.pattern, self.window, self.attention, bias)
        else:
            zero = jnp.zeros_like(block)  # all of one type, also where integers are 64 bits wide
            at = (block, zero, index[0], zero, zero)
            cache = tuple(
                jax.lax.dynamic_update_slice(c, new[None], at) for c, new in zip(cache, (key, value), strict=True)
            )
            mask = attends(self.pattern, self.window, self.heads, index[0], jnp.arange(cache[0].shape[2]))
            keys, values = (jax.lax.dynamic_index_in_dim(c, block, keepdims=False) for c in cache)
            bias = None if distances is None else relative_logits(query, distances, index[0], keys.shape[1])
            y = jax.nn.dot_product_attention(query, keys, values, bias, mask[None, :, None])
        h = h + drop(gate_1 * dense(self.width, "proj")(y.reshape(h.shape))).astype(h.dtype)
        y = nn.gelu(dense(self.hidden, "fc1")(modulated(h, shift_2, scale_2)), approximate=True)
        return (h + drop(gate_2 * dense(self.width, "fc2")(y)).astype(h.dtype), cache, block + 1), None
