"""Two causal networks at two rates, as in SampleRNN: one over frames of inputs, one over inputs given the frames."""

from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from scorekit.arguments import PositiveInt, checked
from scorekit.networks._module import Module
from scorekit.networks.causal._causal import CausalState, check_inputs
from scorekit.typing import Array, ArrayLike


class _TieredState(NamedTuple):
    """The states of both networks, the last frame of values, and the rows that the upper one made of those before."""

    index: Array
    upper: CausalState
    lower: CausalState
    frame: Array
    rows: Array


class TieredNetwork(Module):
    """A causal network over frames of ``factor`` inputs, whose outputs condition a second network over the inputs.

    With ``y_j`` the values of frame j, of the codes ``2 x / (V - 1) - 1``::

        rows_j = upper(y)_j                      depends on the frames before j
        output = lower(x, dense_map=rows)        row i depends on the inputs before i

    The lower network sees nearby inputs in detail. The upper network sees distant inputs at a rate that is lower by
    ``factor``: it computes one position for each frame. The lower network may be tiered itself: its upper network takes
    the map, the first row of each frame.

    Attributes:
      upper: a causal network of values with ``factor * lower.map_size`` outputs.
      lower: a causal network with a map.
      factor: inputs in a frame; the length is divisible by it.

    Source: Mehri et al. 2017, "SampleRNN" (https://arxiv.org/abs/1612.07837).
    """

    upper: Any
    lower: Any
    factor: PositiveInt
    gathers: ClassVar[tuple[str, ...]] = ("blocks",)

    @property
    def outputs(self) -> int:
        """Features of the output at each position."""
        return self.lower.outputs

    @property
    def num_codes(self) -> int | None:
        """Number of codes of the inputs, or None."""
        return self.lower.num_codes

    @property
    def map_size(self) -> int | None:
        """Features of a map with a row for each position, or None."""
        return self.upper.map_size

    def __call__(
        self,
        x: ArrayLike,
        noise: ArrayLike = 0.0,
        labels: ArrayLike | None = None,
        vector: Any = None,
        dense_map: Any = None,
    ) -> Array:
        """All positions at once. Both networks have the conditions, the upper one the map; ``factor`` divides L.

        Args:
          x: codes ``(B, L)`` or values ``(B, L, C)``.
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, L / factor, map_size)``, a :class:`Masked`, or None.
        """
        self._check_sizes()
        x = check_inputs(x, self.num_codes)
        batch, length = x.shape[:2]
        if length % self.factor:
            raise ValueError(f"x must have a length divisible by factor = {self.factor}, got {x.shape}")
        frames = self._values(x).reshape(batch, length // self.factor, -1)
        first = None if dense_map is None else jnp.asarray(dense_map)[:, :: self.factor]
        rows = self.upper(frames, noise, labels, vector, first).reshape(batch, length, -1)
        return self.lower(x, noise, labels, vector, rows)

    @checked
    def init_state(
        self,
        batch: PositiveInt,
        length: PositiveInt,
        noise: ArrayLike = 0.0,
        labels: ArrayLike | None = None,
        vector: Any = None,
    ) -> _TieredState:
        """The state before the first position, of inputs of one channel: a tree of arrays, for :meth:`step`.

        Args:
          batch: number B of sequences.
          length: largest number L of positions.
          noise: noise level, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
        """
        self._check_sizes()
        upper = self.upper.init_state(batch, -(-length // self.factor), noise, labels, vector)
        lower = self.lower.init_state(batch, length, noise, labels, vector)
        frame = jnp.zeros((batch, self.factor), jnp.float32)
        rows = jnp.zeros((batch, self.factor, self.lower.map_size), jnp.float32)
        return _TieredState(jnp.zeros((), jnp.int32), upper, lower, frame, rows)

    def step(self, state: _TieredState, previous: ArrayLike, row: Any = None) -> tuple[Array, _TieredState]:
        """One position: the output at ``state.index``. The upper network takes a step at the first of each frame.

        Args:
          state: state after the position before, or of :meth:`init_state`.
          previous: last input, ``(B,)`` codes or ``(B, 1)`` values, ignored at the first position.
          row: row of the map at this frame, ``(B, map_size)``, or None.
        """
        previous = check_inputs(jnp.asarray(previous)[:, None], self.num_codes)
        place = state.index % self.factor
        value = self._values(previous)[:, 0]
        frame = jnp.where(jnp.arange(self.factor) == (place - 1) % self.factor, value, state.frame)

        def next_frame(module, upper):
            rows, upper = module.upper.step(upper, frame, row)
            return rows.reshape(state.rows.shape), upper

        same_frame = lambda module, upper: (state.rows, upper)
        rows, upper = nn.cond(place == 0, next_frame, same_frame, self, state.upper)
        output, lower = self.lower.step(state.lower, previous[:, 0], jnp.take(rows, place, axis=1))
        return output, _TieredState(state.index + 1, upper, lower, frame, rows)

    def _values(self, x: Array) -> Array:
        """Inputs as values ``(B, L, C)``."""
        return x if self.num_codes is None else 2.0 * x[..., None].astype(jnp.float32) / (self.num_codes - 1) - 1.0

    def _check_sizes(self) -> None:
        if self.upper.num_codes is not None:
            raise ValueError(f"upper must be a network of values, with num_codes=None, got {self.upper.num_codes}")
        if self.lower.map_size is None:
            raise ValueError("lower must be a network with a map, got map_size=None")
        if self.upper.outputs != self.factor * self.lower.map_size:
            expected = f"factor * lower.map_size = {self.factor * self.lower.map_size}"
            raise ValueError(f"upper must have outputs = {expected}, got {self.upper.outputs}")
