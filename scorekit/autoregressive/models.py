"""Autoregressive models: ``p(x) = prod_i p(x_i | x_<i)``, all conditionals at once, or one after the other.

A :class:`SequenceModel` is anything with these four attributes; the library's own are pytrees, so that new
parameters do not compile again.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from scorekit.autoregressive.conditionals import Conditional
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, PyTree


class SequenceModel(Protocol):
    """The interface of a model for the functions of this package."""

    @property
    def conditional(self) -> Conditional:
        """The family of the conditionals."""
        ...

    def outputs(self, x: Array) -> Array:
        """The parameters of all conditionals of ``(B, L, ...)``, ``(B, L, num_outputs)``; row i depends on ``x_<i``."""
        ...

    def init_state(self, batch: int, length: int) -> PyTree:
        """The state before the first of at most ``length`` positions."""
        ...

    def step(self, state: PyTree, previous: Array) -> tuple[Array, PyTree]:
        """The parameters of the next conditional, ``(B, num_outputs)``, from the value before, ignored at first."""
        ...


@pytree_dataclass
class NetworkModel:
    """A network and the meaning of its outputs, at fixed conditions; build it with :func:`model_from_network`.

    Attributes:
      network: a module such as :class:`scorekit.networks.CausalWaveNet`; static.
      conditional: meaning of the outputs.
      params: the parameters.
      conditions: ``noise``, ``labels``, ``vector``, as the network takes them.
      dense_map: a map with a row for each position, or None.

    >>> from scorekit.autoregressive import Categorical
    >>> from scorekit.networks import CausalWaveNet
    >>> network = CausalWaveNet(outputs=4, num_codes=4, channels=4, layers=1, cycle=1)
    >>> params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 3), int))
    >>> model = model_from_network(network, params, Categorical(num_codes=4))
    >>> start = jax.jit(lambda model: model.step(model.init_state(1, 3), jnp.zeros(1, int))[0])
    >>> isinstance(model, NetworkModel), start(model).tolist()
    (True, [[0.0, 0.0, 0.0, 0.0]])

    Source: van den Oord et al. 2016 (https://arxiv.org/abs/1609.03499): ``p(x) = prod_i p(x_i | x_<i)``.
    """

    network: Any = static()
    conditional: Conditional
    params: PyTree
    conditions: dict[str, Any]
    dense_map: Any = None

    def outputs(self, x: Array) -> Array:
        """All conditionals at once."""
        given = {} if self.dense_map is None else {"dense_map": self.dense_map}
        return self.network.apply(self.params, x, **self.conditions, **given)

    def init_state(self, batch: int, length: int) -> PyTree:
        """The state before the first position: the position, and the state of the network."""
        inner = self.network.apply(self.params, batch, length, **self.conditions, method="init_state")
        return jnp.zeros((), jnp.int32), inner

    def step(self, state: PyTree, previous: Array) -> tuple[Array, PyTree]:
        """The next conditional."""
        index, inner = state
        row = lambda v: jax.lax.dynamic_index_in_dim(jnp.asarray(v), index, 1, False) if jnp.ndim(v) == 3 else v
        row = jax.tree.map(row, self.dense_map)  # also of a Masked
        outputs, inner = self.network.apply(self.params, inner, previous, row, method="step")
        return outputs, (index + 1, inner)


def model_from_network(
    network: Any,
    params: PyTree,
    conditional: Conditional,
    *,
    noise: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    vector: Any = None,
    dense_map: Any = None,
) -> NetworkModel:
    """A model ``p(x | conditions) = prod_i p(x_i | x_<i, conditions)`` from a causal network.

    Args:
      network: a Flax module with the methods ``__call__``, ``init_state`` and ``step`` of
        :class:`scorekit.networks.CausalWaveNet`.
      params: its parameters.
      conditional: meaning of its outputs; the network has ``outputs=conditional.num_outputs``.
      noise: noise level, a scalar or ``(B,)``; None is the network's own default, of clean data.
      labels: integer labels, a scalar or ``(B,)``, or None.
      vector: a vector ``(B, V)``, or None.
      dense_map: a map with a row for each position, ``(B, L, F)``, or None.

    Returns:
      A :class:`NetworkModel`, which may be passed through ``jit``.

    >>> from scorekit.autoregressive import Normal
    >>> from scorekit.networks import CausalTransformer
    >>> model_from_network(CausalTransformer(outputs=3), {}, Normal())
    Traceback (most recent call last):
    ValueError: network must have 2 outputs for the conditionals, got 3

    Source: van den Oord et al. 2016 (https://arxiv.org/abs/1609.03499).
    """
    if network.outputs != conditional.num_outputs:
        raise ValueError(
            f"network must have {conditional.num_outputs} outputs for the conditionals, got {network.outputs}"
        )
    conditions = {"noise": noise, "labels": labels, "vector": vector}
    given = {name: value for name, value in conditions.items() if value is not None}
    return NetworkModel(network=network, conditional=conditional, params=params, conditions=given, dense_map=dense_map)
