"""A causal WaveNet: an autoregressive network of dilated convolutions, sized by its arguments."""

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


class CausalWaveNet(CausalNetwork):
    """Gated dilated convolutions of the past, with residual and skip connections: WaveNet.

    Codes or values x are embedded as ``h_i = embed(x_{i - 1})``, with a learned vector in the first place, so that the
    output at i depends on the inputs before i alone. Layer j of n computes::

        a, b = sum_k W_k h_{i - k d} + noise_j(c) + map_j(m_i)      k < taps, d = ``dilation_base ** (j mod cycle)``
        r, s = close_j(tanh(a) sigmoid(b))
        h    = (h + r) / sqrt(2)

    and the output is ``dense0(silu(dense(sum of all s / sqrt(n))))``, where ``dense0`` starts at zero. ``c`` embeds the
    noise level, the class and the vector; ``m`` is a map with a row for each position, or a learned null token.

    ``init_state`` and ``step`` compute one position from queues of the last ``(taps - 1) d`` activations of each layer:
    a position costs the same wherever it is in the sequence, and the memory does not grow with the length.

    The layers run in one scan over cycles, with stacked parameters ``blocks``.

    Attributes:
      outputs: features of the output at each position, such as :attr:`scorekit.autoregressive.Categorical.num_outputs`.
      num_codes: number of codes of the inputs ``(B, L)``; None: the inputs are values ``(B, L, C)``.
      channels: channels of the residual stream, and of the skip connections.
      layers: number of layers n, divisible by ``cycle``.
      cycle: layers after which the dilations restart at 1.
      dilation_base: growth of the dilation from layer to layer.
      taps: taps of each convolution, at least 2.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      map_size: features of a map with a row for each position; None: no map.
      dtype: dtype of the computation.
      remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation).
      dropout: rate of dropout of the gated features of each layer.
      shifted: False: position i sees its own input too, and inputs may have a noise level each
        (:mod:`scorekit.forcing`).

    Source: van den Oord et al. 2016 (https://arxiv.org/abs/1609.03499); Paine et al. 2016
    (https://arxiv.org/abs/1611.09482) for the queues.
    """

    outputs: PositiveInt = 256
    num_codes: PositiveInt | None = None
    channels: PositiveInt = 64
    layers: PositiveInt = 20
    cycle: PositiveInt = 10
    dilation_base: PositiveInt = 2
    taps: Annotated[int, Count(2)] = 2

    @property
    def receptive_field(self) -> int:
        """The number of inputs before a position that its output depends on."""
        return 1 + (self.taps - 1) * sum(self._dilations) * (self.layers // self.cycle)

    def setup(self):
        """The parts that all positions at once and one at a time share."""
        if self.layers % self.cycle:
            raise ValueError(f"layers must be divisible by cycle = {self.cycle}, got {self.layers}")
        self.conditioning = Conditioning(4 * self.channels, self.num_classes, self.vector_size)
        self.inputs = ShiftedInputs(self.channels, self.num_codes, self.dtype, self.shifted)
        self.map = EmbeddedMap(self.channels, self.map_size, self.dtype)
        cycles = scanned(_Cycle, self.layers // self.cycle, self.remat, self.is_initializing())
        self.blocks = cycles(self.channels, self._dilations, self.taps, self.dtype, self.dropout)
        self.skips = nn.Dense(self.channels, dtype=self.dtype)
        self.output = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    @property
    def _dilations(self) -> tuple[int, ...]:
        return tuple(self.dilation_base**j for j in range(self.cycle))

    def _cache(self, batch: int, length: int) -> tuple[Array, ...]:
        """The queues of all layers, which do not depend on the length."""
        cycles, size = self.layers // self.cycle, self.taps - 1
        return tuple(jnp.zeros((cycles, batch, size * d, self.channels), self.dtype) for d in self._dilations)

    def _run(self, h, local, condition, queues, index):
        """The layers on ``(B, L, channels)``; with queues, on one position."""
        local = None if local is None else nn.silu(local)
        carry = (h, jnp.zeros_like(h), queues, jnp.zeros((), jnp.int32))
        (_, skips, queues, _), _ = self.blocks(carry, local, condition, index)
        h = nn.silu(self.skips(skips / math.sqrt(self.layers)))
        return self.output(h).astype(jnp.float32), queues


class _Cycle(nn.Module):
    """One cycle of layers, the body of a scan that carries the queues of all cycles."""

    channels: int
    dilations: tuple[int, ...]
    taps: int
    dtype: DType
    dropout: float

    @nn.compact
    def __call__(self, carry, local, condition, index):
        h, skips, queues, cycle = carry
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        updated = []
        wide = lambda name, **options: nn.Dense(2 * self.channels, dtype=self.dtype, name=name, **options)
        for j, dilation in enumerate(self.dilations):
            if queues is None:
                later = lambda steps, h=h: jnp.pad(h, ((0, 0), (steps, 0), (0, 0)))[:, : h.shape[1]]
                past = [later(k * dilation) for k in range(1, self.taps)]
            else:
                past, queue = _popped_and_pushed(queues[j], cycle, h, index, dilation, self.taps)
                updated.append(queue)
            z = wide(f"conv_{j}")(jnp.concatenate([h, *past], axis=-1))
            z = z + wide(f"noise_{j}")(along_positions(condition))
            if local is not None:
                z = z + wide(f"map_{j}", use_bias=False)(local)
            a, b = jnp.split(z, 2, axis=-1)
            gated = drop(jnp.tanh(a) * jax.nn.sigmoid(b))
            r, s = jnp.split(wide(f"close_{j}")(gated), 2, axis=-1)
            h, skips = (h + r) * math.sqrt(0.5), skips + s
        return (h, skips, None if queues is None else tuple(updated), cycle + 1), None


def _popped_and_pushed(queue, cycle, h, index, dilation, taps):
    """``h`` of ``k dilation`` positions ago for ``0 < k < taps``, and the queue in which h replaces the oldest."""
    size = queue.shape[2]
    zero = jnp.zeros_like(index)  # all of one type, also where integers are 64 bits wide
    at = lambda k: (cycle, zero, (index - k * dilation) % size, zero)
    past = [jax.lax.dynamic_slice(queue, at(k), (1, *h.shape))[0] for k in range(1, taps)]
    return past, jax.lax.dynamic_update_slice(queue, h[None], at(0))
