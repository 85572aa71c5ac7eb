"""Attention and its gradient on a TPU, each one kernel that keeps the weights of a block of queries on the chip.

The keys and values of a group of heads are on the chip too, so that a softmax is computed at once and the gradient
computes the weights again: nothing but queries, keys, values and their gradients is in the memory of the device.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from scorekit.typing import Array

_LANES = 128
_MOST_WEIGHTS = 2**18  # of a block of queries and a head
_MOST_BYTES = 12 * 2**20  # of 16 MiB on a chip, for what the arithmetic of `_bytes` leaves out


class Blocks(NamedTuple):
    """How a kernel is divided: queries and features of a block, and features that a head is padded to."""

    rows: int
    width: int
    size: int


def blocks(query: Any, key: Any) -> Blocks | None:
    """The blocks of arrays ``(B, T, heads, d)``, or None where they do not fit on a chip.

    As many heads as fit are computed at once. Features of a block are a multiple of 128, or all features; where the
    heads do not fill such a block that fits, each is padded.
    """
    (_, length, heads, size), item = query.shape, query.dtype.itemsize
    most = min(length, _MOST_WEIGHTS // key.shape[1])
    rows = [n for n in range(most, 0, -1) if length % n == 0 and (n == length or n % (32 // item) == 0)]
    if not rows:
        return None
    for padded in (size, -(-size // _LANES) * _LANES):
        full = heads * padded
        widths = [padded * n for n in range(heads, 0, -1) if heads % n == 0]
        for width in widths:
            if (width == full or width % _LANES == 0) and _bytes(rows[0], key.shape[1], width, item) <= _MOST_BYTES:
                return Blocks(rows[0], width, padded)
    return None


def _bytes(rows: int, length: int, width: int, item: int) -> int:
    """Bytes of the gradient's blocks, of which two are on the chip, its sums and its weights."""
    lanes = -(-width // _LANES) * _LANES
    return 2 * item * lanes * (3 * rows + 4 * length) + 8 * length * lanes + 16 * rows * length


def attention(query: Array, key: Array, value: Array, *, causal: bool, interpret: bool = False) -> list[Array]:
    """Attention ``(B, T, heads, d)``, alone in a list; ``interpret`` runs it on any platform."""
    return _call(_attention, (query, key, value), 1, 0, causal, interpret)


def gradient(query: Array, key: Array, value: Array, g: Array, *, causal: bool, interpret: bool = False) -> list[Array]:
    """The gradients of ``sum(g attention)`` for query, key and value."""
    return _call(_gradient, (query, key, value, g), 3, 2, causal, interpret)


def _call(kernel: Callable, arrays: tuple, outputs: int, sums: int, causal: bool, interpret: bool) -> list[Array]:
    (batch, length, heads, size), past = arrays[0].shape, arrays[1].shape[1]
    rows, width, padded = blocks(*arrays[:2]) or Blocks(length, heads * size, size)
    features = heads * padded
    pad = [(0, 0), (0, 0), (0, 0), (0, padded - size)]
    flat = [(x if padded == size else jnp.pad(x, pad)).reshape(batch, -1, features) for x in arrays]
    queries = pl.BlockSpec((1, rows, width), lambda b, h, i: (b, i, h))
    keys = pl.BlockSpec((1, past, width), lambda b, h, i: (b, 0, h))
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in flat]
    products = batch * heads * length * past
    found = pl.pallas_call(
        functools.partial(kernel, size=padded, scale=1 / math.sqrt(size), causal=causal),
        grid=(batch, features // width, length // rows),
        in_specs=[queries, keys, keys, queries][: len(arrays)],
        out_specs=[queries, keys, keys][:outputs],
        out_shape=shapes[:outputs],
        scratch_shapes=[pltpu.VMEM((past, width), jnp.float32)] * sums,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary")),
        cost_estimate=pl.CostEstimate(
            flops=2 * (2 if outputs == 1 else 5) * products * size,
            transcendentals=products,
            bytes_accessed=sum(x.size * x.dtype.itemsize for x in [*shapes, *shapes[:outputs]]),
        ),
        interpret=interpret,
    )(*flat)
    return [x.reshape(batch, -1, heads, padded)[..., :size] for x in found]


def _attention(q, k, v, out, *, size, scale, causal):
    for head in _heads(q, size):
        p = _weights(q[0, :, head], k[0, :, head], scale, causal)
        out[0, :, head] = _dot(p.astype(v.dtype), v[0, :, head], 1, 0).astype(out.dtype)


def _gradient(q, k, v, g, dq, dk, dv, dk_sum, dv_sum, *, size, scale, causal):
    """The gradients for keys and values are summed over the blocks of queries, which come one after the other."""

    @pl.when(pl.program_id(2) == 0)
    def _():
        dk_sum[...] = jnp.zeros_like(dk_sum)
        dv_sum[...] = jnp.zeros_like(dv_sum)

    for head in _heads(q, size):
        p = _weights(q[0, :, head], k[0, :, head], scale, causal)
        dp = _dot(g[0, :, head], v[0, :, head], 1, 1)
        ds = (p * (dp - jnp.sum(p * dp, axis=1, keepdims=True)) * scale).astype(q.dtype)
        dq[0, :, head] = _dot(ds, k[0, :, head], 1, 0).astype(dq.dtype)
        dk_sum[:, head] += _dot(ds, q[0, :, head], 0, 0)
        dv_sum[:, head] += _dot(p.astype(g.dtype), g[0, :, head], 0, 0)

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _():
        dk[0] = dk_sum[...].astype(dk.dtype)
        dv[0] = dv_sum[...].astype(dv.dtype)


def _heads(q, size: int) -> list[slice]:
    return [slice(i, i + size) for i in range(0, q.shape[2], size)]


def _weights(q, k, scale, causal):
    """The softmax of a block of queries, in float32."""
    s = _dot(q, k, 1, 1) * scale
    if causal:
        row, column = (jax.lax.broadcasted_iota(jnp.int32, s.shape, axis) for axis in (0, 1))
        s = jnp.where(column <= row + pl.program_id(2) * len(s), s, -jnp.inf)
    p = jnp.exp(s - jnp.max(s, axis=1, keepdims=True))
    return p / jnp.sum(p, axis=1, keepdims=True)


def _dot(a, b, *axes: int):
    """The product over an axis of each, summed in float32."""
    dimensions = ((axes[:1], axes[1:]), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
