"""Parts of all causal networks: inputs behind a shift by one, a map with a row for each position, causal attention.

Each computes all positions at once, or one at a time from a state; both are the same function of the past.
"""

from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.arguments import FractionBelowOne, PositiveInt, checked
from scorekit.checks import check_classes, check_floating
from scorekit.networks._conditions import OrNull, as_masked
from scorekit.networks._module import Module
from scorekit.networks._spatial import DType
from scorekit.networks.attention import Attention, attend
from scorekit.networks.conditioning import Masked
from scorekit.typing import Array, ArrayLike, PyTree

Pattern: TypeAlias = Literal["full", "local", "strided"]
"""The positions that a position attends to, see :func:`attends`."""


class CausalState(NamedTuple):
    """The state of a causal network between two positions: the position, the embedded conditions, a cache."""

    index: Array
    condition: Array
    cache: PyTree


class ShiftedInputs(nn.Module):
    """Embeds codes or values, behind a shift by one: position i holds input i - 1, the first one a learned vector.

    Without the shift position i holds input i."""

    features: int
    num_codes: int | None = None
    dtype: DType = jnp.float32
    shifted: bool = True

    def setup(self):
        if self.num_codes is None:
            self.embed = nn.Dense(self.features, dtype=self.dtype)
        else:
            self.embed = nn.Embed(
                self.num_codes, self.features, embedding_init=nn.initializers.normal(1.0), dtype=self.dtype
            )
        if self.shifted:
            self.begin = self.param("begin", nn.initializers.normal(1.0), (self.features,), jnp.float32)

    def __call__(self, x: Array) -> Array:
        """All positions, ``(B, L)`` or ``(B, L, C)`` to ``(B, L, features)``."""
        if not self.shifted:
            return self.embed(x)
        begin = jnp.broadcast_to(self.begin.astype(self.dtype), (x.shape[0], 1, self.features))
        return jnp.concatenate([begin, self.embed(x)[:, :-1]], axis=1)

    def step(self, previous: Array, index: Array) -> Array:
        """Position ``index``, from ``(B,)`` or ``(B, C)`` to ``(B, 1, features)``."""
        if not self.shifted:
            return self.embed(previous)[:, None]
        return jnp.where(index == 0, self.begin.astype(self.dtype), self.embed(previous)[:, None])


class EmbeddedMap(nn.Module):
    """A dense layer for each row of a map, a learned null token where it is absent; None for a network without one."""

    features: int
    size: int | None
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, dense_map: Any, batch: int, length: int) -> Array | None:
        given = as_masked("dense_map", dense_map, None if self.size is None else (length, self.size), batch)
        if given is None:
            return None
        h = nn.Dense(self.features, dtype=self.dtype, name="in")(given.value)
        return OrNull(name="or_null")(h, given.present)


class CausalNetwork(Module, kw_only=True):
    """What causal networks of one rate are called with; a subclass has ``conditioning``, ``inputs``, ``map``, which its
    ``setup`` makes, ``_run`` and ``_cache``."""

    num_classes: PositiveInt | None = None
    vector_size: PositiveInt | None = None
    map_size: PositiveInt | None = None
    dtype: DType = jnp.float32
    remat: bool = False
    dropout: FractionBelowOne[float] = 0.0
    shifted: bool = True
    gathers: ClassVar[tuple[str, ...]] = ("blocks",)

    def __call__(
        self,
        x: ArrayLike,
        noise: ArrayLike = 0.0,
        labels: ArrayLike | None = None,
        vector: Any = None,
        dense_map: Any = None,
    ) -> Array:
        """All positions at once; row i depends on the inputs before i, without the shift on that at i too.

        Args:
          x: codes ``(B, L)``, or values ``(B, L, C)``.
          noise: noise level of the values, scalar or ``(B,)``, without the shift also ``(B, L)``; 0 for a model of
            clean data.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, L, map_size)``, a :class:`Masked`, or None.
        """
        x = check_inputs(x, self.num_codes)
        positions = None if self.shifted else x.shape[1]
        condition = self.conditioning(noise, labels, x.shape[0], vector, positions=positions)
        local = self.map(dense_map, *x.shape[:2])
        return self._run(self.inputs(x), local, condition, None, None)[0]

    @checked
    def init_state(
        self,
        batch: PositiveInt,
        length: PositiveInt,
        noise: ArrayLike = 0.0,
        labels: ArrayLike | None = None,
        vector: Any = None,
    ) -> CausalState:
        """The state before the first position: the embedded conditions and, of a transformer, a cache of ``length``
        positions, after which outputs are NaN.

        Args:
          batch: number B of sequences.
          length: largest number L of positions.
          noise: noise level, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
        """
        condition = self.conditioning(noise, labels, batch, vector)
        return CausalState(jnp.zeros((), jnp.int32), condition, self._cache(batch, length))

    def step(self, state: CausalState, previous: ArrayLike, row: Any = None) -> tuple[Array, CausalState]:
        """One position: the output ``(B, outputs)`` at ``state.index``, from the input before it; the new state.

        Args:
          state: state after the position before, or of :meth:`init_state`.
          previous: last input, ``(B,)`` codes or ``(B, C)`` values; without the shift the input at this position.
          row: row of the map at this position, ``(B, map_size)``, or None.
        """
        previous = check_inputs(jnp.asarray(previous)[:, None], self.num_codes)[:, 0]
        h, local = self.inputs.step(previous, state.index), self.map(as_row(row), previous.shape[0], 1)
        output, cache = self._run(h, local, state.condition, state.cache, state.index)
        return output[:, 0], CausalState(state.index + 1, state.condition, cache)


def as_row(row: Any) -> Any:
    """The row of a map ``(B, C)`` as a map of length 1, ``(B, 1, C)``."""
    widen = lambda value: jnp.asarray(value)[:, None] if jnp.ndim(value) == 2 else value
    return Masked(widen(row.value), row.present) if isinstance(row, Masked) else None if row is None else widen(row)


def check_inputs(x: Any, num_codes: int | None) -> Array:
    """The inputs as an array; raises ``ValueError`` unless they are codes ``(B, L)`` or values ``(B, L, C)``."""
    axes = 3 if num_codes is None else 2
    if jnp.ndim(x) != axes or 0 in jnp.shape(x):
        raise ValueError(f"x must have shape {'(B, L, C)' if axes == 3 else '(B, L)'}, got {jnp.shape(x)}")
    if num_codes is None:
        check_floating(x=x)
        return jnp.asarray(x, jnp.float32)
    check_classes(num_codes, x=x)
    return jnp.asarray(x)


def attends(pattern: str, window: int, heads: int, query: Array, key: Array) -> Array:
    """Whether position ``query`` attends to position ``key``, for every head: booleans ``(heads, ...)``.

    "full": all positions up to its own. "local": the last ``window`` and its own. "strided": the first half of the
    heads as "local", the others every ``window``-th position up to its own. ``query`` and ``key`` broadcast.
    """
    distance = jnp.asarray(query) - jnp.asarray(key)
    past = distance >= 0
    local, strided = past & (distance <= window), past & (distance % window == 0)
    first, second = {"full": (past, past), "local": (local, local), "strided": (local, strided)}[pattern]
    return jnp.stack([first] * (heads - heads // 2) + [second] * (heads // 2))


def relative_logits(query: Array, distances: Array, index: Array | None = None, length: int = 0) -> Array:
    """Relative attention: ``q_i . e_min(i - j, R - 1) / sqrt(d)`` for positions j up to i, ``(B, heads, L, S)``.

    For all positions of queries ``(B, L, heads, d)``, S = L, or for the one query at ``index`` and ``length`` S. The
    distances, embeddings ``(R, heads, d)``, are multiplied at once and shifted into place: they need the memory of the
    logits. What is behind i is arbitrary.
    """
    scaled, size = query / query.shape[-1] ** 0.5, query.shape[1]
    last = len(distances) - 1
    if index is not None:
        near = distances[jnp.clip(index - jnp.arange(length), 0, last)]
        return jnp.einsum("blhd,shd->bhls", scaled, near)
    far_first = distances[jnp.minimum(jnp.arange(size)[::-1], last)]
    by_distance = jnp.einsum("blhd,shd->bhls", scaled, far_first)
    shifted = jnp.pad(by_distance, [(0, 0), (0, 0), (0, 0), (1, 0)])
    return shifted.reshape(*shifted.shape[:2], size + 1, size)[:, :, 1:]


def causal_attention(
    query: Array,
    key: Array,
    value: Array,
    pattern: str,
    window: int,
    attention: Attention = "xla",
    bias: Array | None = None,
) -> Array:
    """Attention ``(B, L, heads, d)`` by the pattern of :func:`attends`, without the weights that are zero.

    "local" costs ``2 l L`` products and "strided" also ``L^2 / l``, in place of ``L^2``. ``attention`` is the
    implementation where no mask is needed but the causal one. ``bias`` ``(B, heads, L, L)``, with "full" alone, is
    added to the logits.
    """
    if bias is not None:
        return jax.nn.dot_product_attention(query, key, value, bias, is_causal=True)
    if pattern == "full":
        return attend(query, key, value, attention, causal=True)
    if pattern == "local":
        return _local(query, key, value, window)
    half = query.shape[2] - query.shape[2] // 2
    near = _local(query[:, :, :half], key[:, :, :half], value[:, :, :half], window)
    far = _strided(query[:, :, half:], key[:, :, half:], value[:, :, half:], window)
    return jnp.concatenate([near, far], axis=2)


def _blocks(x: Array, size: int) -> Array:
    """``(B, L, ...)`` as ``(B, n, size, ...)``, the end filled with zeros."""
    batch, length, *rest = x.shape
    n = -(-length // size)
    x = jnp.pad(x, [(0, 0), (0, n * size - length)] + [(0, 0)] * len(rest))
    return x.reshape(batch, n, size, *rest)


def _local(query, key, value, window):
    """Blocks of ``window`` positions attend to themselves and to the block before."""
    length, blocks = query.shape[1], [_blocks(x, window) for x in (query, key, value)]
    n = blocks[0].shape[1]
    if n == 1:
        return jax.nn.dot_product_attention(query, key, value, is_causal=True)
    before = lambda x: jnp.concatenate([jnp.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
    k, v = (jnp.concatenate([before(x), x], axis=2) for x in blocks[1:])
    distance = window + jnp.arange(window)[:, None] - jnp.arange(2 * window)
    exists = (jnp.arange(n) > 0)[:, None, None] | (jnp.arange(2 * window) >= window)
    mask = exists & (distance >= 0) & (distance <= window)
    attend = lambda q, k, v, mask: jax.nn.dot_product_attention(q, k, v, mask=mask[None, None])
    y = jax.vmap(attend, in_axes=(1, 1, 1, 0), out_axes=1)(blocks[0], k, v, mask)
    return y.reshape(query.shape[0], n * window, *query.shape[2:])[:, :length]


def _strided(query, key, value, stride):
    """Positions of the same remainder attend to each other."""
    length, blocks = query.shape[1], [_blocks(x, stride) for x in (query, key, value)]
    attend = lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True)
    y = jax.vmap(attend, in_axes=2, out_axes=2)(*blocks)
    return y.reshape(query.shape[0], -1, *query.shape[2:])[:, :length]
