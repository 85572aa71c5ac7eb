"""The discriminators that a generator of one step is trained against."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from experiments.cli.config import require
from experiments.tasks.diffusion.model import CRITIC
from experiments.tasks.flow_maps.losses import FlowMapLoss
from scorekit.networks import ABSENT, RandomWindowDiscriminator
from scorekit.typing import Array, PyTree


class Critic(NamedTuple):
    """Discriminators of a model.

    Attributes:
      module: their network.
      axes: number of spatial axes of an example.
      map_shape: shape of the dense map that they see with the example, if it has the same positions.
    """

    module: RandomWindowDiscriminator
    axes: int
    map_shape: tuple[int, ...] | None

    def draw(self, key: Array, batch: int) -> Array:
        """The places of the windows of a batch."""
        return jax.random.uniform(key, (batch, len(self.module.windows), self.axes))

    def inputs(self, x: Array, given: Mapping[str, Any], place: Array | None = None) -> dict[str, Any]:
        """The inputs of the network for examples and their conditions; a vector and a dense map may be absent."""
        found = {"x": x, "place": jnp.zeros((len(x), len(self.module.windows), self.axes)) if place is None else place}
        if self.module.num_classes is not None:
            found["labels"] = given["labels"]
        if self.module.vector_size is not None:
            found["vector"] = given.get("vector", ABSENT)
        if self.map_shape is not None:
            dense_map = given.get("dense_map", ABSENT)
            present = jnp.broadcast_to(dense_map.present, x.shape[:1]).reshape(-1, *[1] * (x.ndim - 1))
            value = jnp.broadcast_to(dense_map.value, (len(x), *self.map_shape))
            found["x"] = jnp.concatenate([x, jnp.where(present, value, 0.0)], axis=-1)
        return found

    def logits(
        self, params: PyTree, given: Mapping[str, Any], place: Array, x: Array, fixed: bool = False
    ) -> tuple[Array, ...]:
        """The logits of windows at ``place``; with ``fixed`` the parameters of the discriminators get no gradient."""
        of_critic = jax.lax.stop_gradient(params[CRITIC]) if fixed else params[CRITIC]
        return cast(Any, self.module.apply(of_critic, **self.inputs(x, given, place))).logits


def build(
    loss: FlowMapLoss, shape: tuple[int, ...], num_classes: int | None, sizes: Mapping[str, Any]
) -> Critic | None:
    """The discriminators of a loss, for examples and conditions of these sizes; None where it has none."""
    if loss.critic is None:
        return None
    module = loss.critic(num_classes=num_classes, vector_size=sizes["vector_size"])
    windows, least = tuple(module.windows), min(shape[:-1], default=0)
    allowed = f"at most {least}, the positions of an example along its shortest axis"
    require(max(windows) <= least, "loss.flow_map.windows", windows, allowed)
    map_shape = sizes["map_shape"]
    same = map_shape is not None and map_shape[:-1] == shape[:-1]
    return Critic(module, len(shape) - 1, map_shape if same else None)
