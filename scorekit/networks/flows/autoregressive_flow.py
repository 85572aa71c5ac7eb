"""Autoregressive flows, in the direction of density (MAF) or of sampling (IAF)."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from scorekit.arguments import PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._conditions import as_masked
from scorekit.networks.causal.causal_wavenet import CausalWaveNet
from scorekit.networks.conditioning import Masked
from scorekit.networks.flows._steps import Flow, num_outputs, summed, transformed
from scorekit.typing import Array, ArrayLike


class AutoregressiveFlow(Flow, kw_only=True):
    """Transforms each position with parameters that a causal WaveNet computes from the positions before it.

    Each of the layers is ``v_i = T(u_i; network(u_<i, conditions))``, for all positions at once; its inverse finds one
    position after the other. Consecutive layers run in opposite orders unless ``alternate`` is False.

    ``parallel="density"``, a masked autoregressive flow, has ``z = T(x)``: a density costs one pass, and a sample one
    step for each position. ``parallel="sampling"``, an inverse autoregressive flow, has ``x = T(z)``, with the costs
    exchanged, as in Parallel WaveNet.

    Data are signals ``(B, L, C)``, whose channels are independent given the positions before, or vectors ``(B, D)``,
    which are signals of D positions with one channel.

    Attributes:
      data_channels: channels C of the data.
      parallel: the direction that computes all positions at once.
      layers: number of layers of the flow.
      alternate: whether every second layer runs from the last position to the first.
      channels: channels of the networks.
      depth: convolutions of each network, divisible by ``cycle``.
      cycle: convolutions after which the dilations restart at 1.
      map_size: features of a map with a row for each position; None: no map.
      transform: the bijection of each value: ``v + b`` ("additive"), ``v exp(a) + b`` ("affine", a in [-3, 3]), or a
        monotone rational-quadratic "spline" of the latter.
      bins: bins of a spline.
      bound: half of the length of the interval in which a spline is not the identity.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      dtype: dtype of the computation.

    Source: Papamakarios et al. 2017, MAF (https://arxiv.org/abs/1705.07057); Kingma et al. 2016, IAF
    (https://arxiv.org/abs/1606.04934).
    """

    data_channels: PositiveInt = 1
    parallel: Literal["density", "sampling"] = "density"
    layers: PositiveInt = 2
    alternate: bool = True
    channels: PositiveInt = 64
    depth: PositiveInt = 6
    cycle: PositiveInt = 6
    map_size: PositiveInt | None = None

    def setup(self):
        """The network of each layer."""
        sizes = {"channels": self.channels, "layers": self.depth, "cycle": self.cycle, "dtype": self.dtype}
        conditions = {name: getattr(self, name) for name in ("num_classes", "vector_size", "map_size")}
        outputs = self.data_channels * num_outputs(self.transform, self.bins)
        self.networks = [CausalWaveNet(outputs, **sizes, **conditions) for _ in range(self.layers)]

    def _forward(self, x, labels, vector, dense_map):
        return self._run(x, labels, vector, dense_map, self.parallel == "sampling")

    def _inverse(self, z, labels, vector, dense_map):
        return self._run(z, labels, vector, dense_map, self.parallel == "density")

    def scales(
        self, z: ArrayLike, labels: ArrayLike | None = None, vector: Any = None, dense_map: Any = None
    ) -> tuple[Array, Array]:
        """The data of latents, and ``log s`` with ``x_i = m_i(z_<i) + s_i(z_<i) z_i``, both shaped like ``z``.

        For :func:`scorekit.autoregressive.density_distillation_loss`: the values are normal given those before them,
        which needs ``parallel="sampling"``, ``alternate=False`` and no splines.

        Args:
          z: latents, shaped like the data.
          labels: integer labels, scalar or ``(B,)``, or None.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          dense_map: ``(B, *map_shape)``, a :class:`Masked`, or None.

        >>> flow = AutoregressiveFlow(channels=8, parallel="sampling", alternate=False)
        >>> x, log_scale = flow.init_with_output(jax.random.key(0), jnp.ones((1, 3)), method="scales")[0]
        >>> x.tolist(), log_scale.tolist()  # the identity at first
        ([[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]])
        """
        if self.parallel != "sampling" or self.alternate or self.transform == "spline":
            raise ValueError(
                'scales needs parallel="sampling", alternate=False and transform="affine" or "additive", got '
                f"{self.parallel!r}, {self.alternate} and {self.transform!r}"
            )
        return self._values(z, labels, vector, dense_map, False)

    def _run(self, x: ArrayLike, labels, vector, dense_map, inverse: bool) -> tuple[Array, Array]:
        y, log_slope = self._values(x, labels, vector, dense_map, inverse)
        return y, summed(log_slope)

    def _values(self, x: ArrayLike, labels, vector, dense_map, inverse: bool) -> tuple[Array, Array]:
        """The data or latents, and the logarithm of the slope of each value."""
        check_floating(x=x)
        x = jnp.asarray(x, jnp.float32)
        of_vectors = x.ndim == 2
        h = x[..., None] if of_vectors else x
        if h.ndim != 3 or h.shape[-1] != self.data_channels:
            allowed = f"(B, L, {self.data_channels})" + (" or (B, D)" if self.data_channels == 1 else "")
            raise ValueError(f"x must have shape {allowed}, got {x.shape}")
        shape = None if self.map_size is None else (h.shape[1], self.map_size)
        dense_map = as_masked("dense_map", dense_map, shape, h.shape[0])
        total, order = jnp.zeros_like(h), range(self.layers)
        for i in reversed(order) if inverse else order:
            layer = self._sequential if inverse and not self.is_initializing() else self._at_once
            turned = self.alternate and i % 2 == 1
            given = None if dense_map is None else Masked(_turned(dense_map.value, turned), dense_map.present)
            found = layer(self.networks[i], _turned(h, turned), labels, vector, given)
            h, log_slope = (_turned(part, turned) for part in found)
            total = total + log_slope
        return h.reshape(x.shape), total.reshape(x.shape)

    def _at_once(self, network, u, labels, vector, dense_map):
        raw = network(u, 0.0, labels, vector, dense_map).reshape(*u.shape, -1)
        return transformed(u, raw, self.bound, inverse=False)

    def _sequential(self, network, v, labels, vector, dense_map):
        """The inverse of ``_at_once``."""
        network, variables = network.unbind()
        batch, length, _ = v.shape
        start = network.apply(variables, batch, length, 0.0, labels, vector, method="init_state")
        rows = None if dense_map is None else dense_map.value.swapaxes(0, 1)

        def step(carry, at):
            state, previous = carry
            value, row = at
            row = None if dense_map is None else Masked(row, dense_map.present)
            raw, state = network.apply(variables, state, previous, row, method="step")
            u, log_slope = transformed(value, raw.reshape(*value.shape, -1), self.bound, inverse=True)
            return (state, u), (u, log_slope)

        begin = (start, jnp.zeros_like(v[:, 0]))
        _, (u, log_slope) = jax.lax.scan(step, begin, (v.swapaxes(0, 1), rows))
        return u.swapaxes(0, 1), log_slope.swapaxes(0, 1)


def _turned(sequences: Array, turned: bool) -> Array:
    """Sequences ``(B, L, C)`` in the opposite order, or as they are."""
    return sequences[:, ::-1] if turned else sequences
