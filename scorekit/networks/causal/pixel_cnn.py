"""A PixelCNN: an autoregressive network of masked convolutions over rows and columns, sized by its arguments."""

import math
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.arguments import Count, PositiveInt
from scorekit.networks._conditions import along_positions
from scorekit.networks._module import scanned
from scorekit.networks._spatial import DType
from scorekit.networks.causal._causal import CausalNetwork, EmbeddedMap, ShiftedInputs
from scorekit.networks.embeddings import Conditioning
from scorekit.typing import Array


class PixelCNN(CausalNetwork):
    """Gated convolutions of the rows above and of the row to the left: a PixelCNN without a blind spot.

    A sequence is an image in raster order, ``i = columns * row + column``. Two stacks have the same shape: ``v``, which
    starts from the inputs of the rows above, and ``h``, from ``embed(x_{i - 1})`` with a learned vector in the first
    place. Layer j of n computes, with convolutions that see no row below and in ``right`` no column to the right::

        u = down_j(v)                                                  (taps + 1) / 2 rows of ``taps`` columns
        z = right_j(h) + link_j(u) + noise_j(c) + map_j(m_i)           (taps + 1) / 2 columns of one row
        v = gate(u + level_j(c))                                       gate(a, b) = tanh(a) sigmoid(b)
        r, s = close_j(gate(z))
        h = (h + r) / sqrt(2)

    and the output is ``dense0(silu(dense(sum of all s / sqrt(n))))``, where ``dense0`` starts at zero. ``c`` embeds the
    noise level, the class and the vector; ``m`` is a map with a row for each position, or a learned null token.

    ``init_state`` and ``step`` compute one position, and at the first column ``v`` of the whole row: the memory is of
    ``(taps - 1) / 2`` rows a layer, and does not grow with the length.

    The layers run in one scan over their stacked parameters ``blocks``.

    Attributes:
      columns: positions in a row, of which the length is a multiple; values of several channels count each.
      outputs: features of the output at each position, such as :attr:`scorekit.autoregressive.Categorical.num_outputs`.
      num_codes: number of codes of the inputs ``(B, L)``; None: the inputs are values ``(B, L, C)``.
      channels: channels of both stacks, and of the skip connections.
      layers: number of layers n.
      taps: columns of the convolutions, odd and at least 3.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_size: features of a map with a row for each position; None: no map.
      dtype: dtype of the computation.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      dropout: rate of dropout of the gated features of each layer.
      shifted: False: position i sees its own input too, and inputs may have a noise level each
        (:mod:`scorekit.forcing`).

    Source: van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders"
    (https://arxiv.org/abs/1606.05328).
    """

    columns: PositiveInt
    outputs: PositiveInt = 256
    num_codes: PositiveInt | None = None
    channels: PositiveInt = 64
    layers: PositiveInt = 8
    taps: Annotated[int, Count(3)] = 3

    def setup(self):
        """The parts that all positions at once and one at a time share."""
        if self.taps % 2 == 0:
            raise ValueError(f"taps must be odd, got {self.taps}")
        if not self.shifted:
            raise ValueError("shifted must be True, since the rows above are those of the inputs, got False")
        self.conditioning = Conditioning(4 * self.channels, self.num_classes, self.vector_size)
        self.inputs = ShiftedInputs(self.channels, self.num_codes, self.dtype, self.shifted)
        self.map = EmbeddedMap(self.channels, self.map_size, self.dtype)
        layers = scanned(_Layer, self.layers, self.remat, self.is_initializing())
        self.blocks = layers(self.channels, self.columns, self.taps, self.dtype, self.dropout)
        self.skips = nn.Dense(self.channels, dtype=self.dtype)
        self.output = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    def _cache(self, batch: int, length: int) -> tuple[Array, ...]:
        """The last inputs; for each layer rows of ``v`` above, the row of ``link(u)``, and columns of ``h`` before."""
        above, size = (self.taps - 1) // 2, self.channels
        each = (above, self.columns, size), (1, self.columns, 2 * size), (1, above, size)
        stacks = tuple(jnp.zeros((self.layers, batch, *shape), self.dtype) for shape in each)
        return jnp.zeros((batch, self.columns, size), self.dtype), *stacks

    def _run(self, h, local, condition, cache, index):
        """The layers on ``(B, L, channels)``; with a cache, on one position."""
        local, batch = None if local is None else nn.silu(local), h.shape[0]
        if cache is None:
            if h.shape[1] % self.columns:
                raise ValueError(f"x must have a length divisible by columns = {self.columns}, got {h.shape[1]}")
            last, stacks = jnp.pad(h, ((0, 0), (self.columns - 1, 0), (0, 0)))[:, : h.shape[1]], None
            column, shape = None, (batch, -1, self.columns, self.channels)
        else:
            last, *stacks = cache
            last = jnp.concatenate([last[:, 1:], h], axis=1)
            column, shape = index % self.columns, (batch, 1, 1, self.channels)
        # Position i of h holds input i - 1, so that input i - columns, above position i, is columns - 1 before it.
        v = last.reshape(batch, -1, self.columns, self.channels)
        h = h.reshape(shape)
        if local is not None:
            local = local.reshape(shape)
        carry = (v, h, jnp.zeros_like(h), stacks, jnp.zeros((), jnp.int32))
        (_, _, skips, stacks, _), _ = self.blocks(carry, local, along_positions(condition)[:, None], column)
        skips = skips.reshape(batch, -1, self.channels)
        h = nn.silu(self.skips(skips / math.sqrt(self.layers)))
        return self.output(h).astype(jnp.float32), None if stacks is None else (last, *stacks)


class _Layer(nn.Module):
    """One layer, the body of a scan that carries the rows and columns before of all layers."""

    channels: int
    columns: int
    taps: int
    dtype: DType
    dropout: float

    def setup(self):
        dense = lambda **options: nn.Dense(2 * self.channels, dtype=self.dtype, **options)
        self.down, self.right, self.link, self.close = dense(), dense(), dense(), dense()
        self.noise, self.level, self.map = dense(), dense(), dense(use_bias=False)
        self.drop = nn.Dropout(self.dropout)

    def __call__(self, carry, local, condition, column):
        v, h, skips, stacks, layer = carry
        side = (self.taps - 1) // 2
        if stacks is None:
            v, linked, _ = self.next_row(v, None, jnp.zeros_like(v[:, :1]).repeat(side, 1), condition)
            z = self.right(_around(jnp.zeros_like(h[:, :, :1]).repeat(side, 2), h, axis=2))
        else:
            above, row, before = (jax.lax.dynamic_index_in_dim(each, layer, keepdims=False) for each in stacks)
            v, row, above = nn.cond(column == 0, _Layer.next_row, _Layer.same_row, self, v, row, above, condition)
            linked = jax.lax.dynamic_slice_in_dim(row, column, 1, axis=2)
            before = jnp.where(column == 0, 0, before)
            z = self.right(_around(before, h, axis=2))
            own = above, row, jnp.concatenate([before, h], axis=2)[:, :, 1:]
            stacks = [jax.lax.dynamic_update_index_in_dim(a, b, layer, 0) for a, b in zip(stacks, own, strict=True)]
        z = z + linked + self.noise(condition)
        if local is not None:
            z = z + self.map(local)
        gated = self.drop(_gate(z), deterministic=not self.has_rng("dropout"))
        r, s = jnp.split(self.close(gated), 2, axis=-1)
        return (v, (h + r) * math.sqrt(0.5), skips + s, stacks, layer + 1), None

    def next_row(self, v, row, above, condition):
        """The next ``v``, the row of ``link(u)``, and the rows above those that follow."""
        side = (self.taps - 1) // 2
        padded = jnp.pad(_around(above, v, axis=1), ((0, 0), (0, 0), (side, side), (0, 0)))
        u = self.down(jnp.concatenate([padded[:, :, k : k + v.shape[2]] for k in range(self.taps)], axis=-1))
        return _gate(u + self.level(condition)), self.link(u), jnp.concatenate([above, v], axis=1)[:, -side:]

    def same_row(self, v, row, above, condition):
        """What :meth:`next_row` returned at the first column."""
        return v, row, above


def _around(before: Array, x: Array, axis: int) -> Array:
    """Each position of an axis of x with those before it, as channels; ``before`` is in front of the first."""
    both, size = jnp.concatenate([before, x], axis=axis), x.shape[axis]
    steps = range(before.shape[axis] + 1)
    return jnp.concatenate([jax.lax.slice_in_dim(both, k, k + size, axis=axis) for k in steps], axis=-1)


def _gate(z: Array) -> Array:
    a, b = jnp.split(z, 2, axis=-1)
    return jnp.tanh(a) * jax.nn.sigmoid(b)
