"""A flow map of a config: a network that gets the length of the jump, and discriminators."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.config import Config, require, require_field
from experiments.data.conditions import SECTIONS
from experiments.models import choices
from experiments.models.conditioning import GUIDANCE, null_conditions
from experiments.tasks.diffusion.fields import FLOW_MAPS
from experiments.tasks.diffusion.model import CRITIC, Given, Model, by_name, initialise, takes_labels
from experiments.tasks.flow_maps.losses import FlowMapLoss
from scorekit import flow_maps
from scorekit import times as time_samplers
from scorekit.networks import ABSENT, RandomWindowDiscriminator
from scorekit.predictions import bounded_log_snr
from scorekit.times import TimeSampler
from scorekit.typing import Array, Denoiser, FlowMap, Key, Prediction, PyTree

Teacher = Callable[[Mapping[str, Any]], Denoiser]
"""Conditions to the denoiser whose flow map is learned."""


@dataclass(frozen=True, kw_only=True)
class FlowMapModel(Model):
    """A flow map X(x_t, t, s).

    Attributes:
      guidance_max: the largest γ that the map is conditioned on; None for one that is not.
    """

    objective: "FlowMapObjective"
    guidance_max: float | None = None
    is_flow_map = True

    def inputs(self, given: Given) -> dict[str, Any]:
        named = by_name(given)
        scale = named.pop(GUIDANCE, 1.0)
        if "scalars" not in named:
            named["scalars"] = self.scalars(scale, jnp.zeros(jnp.shape(named["labels"])))
        if not takes_labels(self):
            named.pop("labels", None)
        return named

    def scalars(self, scale: Any, span: Array) -> Array:
        """The scalar conditions for jumps of length ``span`` ``(B,)`` of the clock.

        ``(B,)``; with γ as a condition ``(B, 2)``, the other being its logarithm.
        """
        if self.guidance_max is None:
            return span
        return jnp.stack([span, jnp.broadcast_to(jnp.log(scale), span.shape)], axis=-1)

    def init(self, key: Key) -> PyTree:
        params, critic = super().init(key), self.objective.critic
        if critic is None:
            return params
        labels = jnp.zeros(1, jnp.int32) if takes_labels(self) else None
        of_critic = critic.inputs(jnp.zeros((1, *self.shape)), {"labels": labels})
        return {**params, CRITIC: initialise(critic.module, jax.random.fold_in(key, 2), **of_critic)}

    def denoiser(self, params: PyTree, given: Given) -> FlowMap:
        return self.flow_map(params, given)

    def flow_map(self, params: PyTree, given: Given, dropout: Array | None = None) -> FlowMap:
        """The conditional flow map, ``(x_t, t, s=t) -> Prediction``."""
        two_times = Partial(functools.partial(_two_times, self), params, by_name(given), dropout)
        return flow_maps.flow_map_from_network(two_times, self.schedule, self.target)


def _two_times(model: FlowMapModel, params: PyTree, named: Mapping[str, Any], dropout, x_t, t, s):
    clock = functools.partial(flow_maps.clock, model.schedule)
    span = jnp.broadcast_to(clock(t) - clock(s), x_t.shape[:1])
    given = {**named, "scalars": model.scalars(named.get(GUIDANCE, 1.0), span)}
    return model.network(params, given, dropout)(x_t, t)


TWO_TIMES = ("dit", "mlp", "unet")
"""The networks that take further scalars."""


def check(config: Config, of_map: FlowMapLoss) -> None:
    """Validates the fields of a flow map, and that its network takes two times."""
    most = config.loss.guidance_max
    allowed = "None without config.loss.flow_map, and for consistency_tuning"
    require(most is None or of_map.guided, "loss.guidance_max", most, allowed)
    allowed = f"{', '.join(TWO_TIMES)} for config.loss.flow_map.name={config.loss.flow_map.name}"
    require_field(config, "network.name", config.network.name in TWO_TIMES, allowed)


def check_sampling(config: Config, ts: Array, scales: Sequence[float]) -> None:
    """Validates that a flow map is sampled at guidance scales that it was trained for, and what its loss needs.

    Drifting and adversarial training have one jump from pure noise. The batch of drifting has one part, and the class
    is its only condition; the windows of discriminators fit each other.
    """
    name, of_jumps, most = (
        config.loss.flow_map.name,
        config.sampling.solver.name == "flow_map",
        config.loss.guidance_max,
    )
    for scale in scales if of_jumps else ():
        field = "sampling.guidance_scale" if scale == config.sampling.guidance_scale else "evaluation.guidance_scales"
        allowed = "1 for a flow map without config.loss.guidance_max"
        allowed = allowed if most is None else f"from 1 to config.loss.guidance_max={most:g}"
        require(1 <= scale <= (most or 1), field, scale, allowed)
    if name not in ("adversarial", "drifting"):
        return
    must, for_it = functools.partial(require_field, config), f"for config.loss.flow_map.name={name}"
    must("sampling.solver.name", of_jumps, f"flow_map {for_it}")
    must("sampling.steps", len(ts) == 2, f"1 {for_it}, which is one jump")
    must("sampling.grid.t_max", float(ts[0]) == 1.0, f"1 {for_it}, which starts at pure noise")
    if name == "adversarial":
        first, *others = config.loss.flow_map.windows or (1,)
        return must("loss.flow_map.windows", not any(n % first for n in others), f"multiples of the first {for_it}")
    must("training.accumulate", config.training.accumulate == 1, f"1 {for_it}: it compares the samples of a batch")
    for section in SECTIONS.values():
        absent = config.conditions[section].name == "none"
        must(f"conditions.{section}.name", absent, f"none {for_it}, which has classes alone")


def build(config: Config, num_classes: int | None, sizes: Mapping[str, Any], parts: dict[str, Any]) -> FlowMapModel:
    """The flow map of a config from the parts of a diffusion model."""
    of_map: FlowMapLoss = FLOW_MAPS.build(config, "loss.flow_map")
    check(config, of_map)
    critic = build_critic(of_map, parts["shape"], num_classes, sizes)
    objective = FlowMapObjective(choices.TIMES.build(config, "loss.times"), of_map, critic)
    return FlowMapModel(**parts, guidance_max=config.loss.guidance_max, objective=objective)


class FlowMapObjective(NamedTuple):
    """A loss of two times.

    Attributes:
      times: distribution of the first time.
      of_map: the loss and the draw of both times.
      critic: discriminators that a generator is trained against; None without.
      teacher: the denoiser whose flow map is learned; None learns the flow map of the data.
    """

    times: TimeSampler
    of_map: FlowMapLoss
    critic: "Critic | None" = None
    teacher: Teacher | None = None
    weighting = None
    learns_schedule = False

    def draw(self, for_times, key, model, x, progress):
        sampler = time_samplers.at_progress(self.times, progress)
        times = self.of_map.draw(for_times, x.shape[0], sampler, model.schedule)
        of_loss = time_samplers.draw(for_times, sampler, model.schedule, x.shape[0])._asdict()
        return {**of_loss, "times": times, "progress": jnp.full(x.shape[0], progress)}

    def complete(self, key, model, prepared, batch):
        given = dict(prepared["conditions"])
        absent, shape = given["labels"] == model.num_classes, prepared["x"].shape[:1]
        if model.guidance_max is not None:
            scale = jax.random.uniform(jax.random.fold_in(key, 6), shape, maxval=model.guidance_max - 1.0)
            given[GUIDANCE] = jnp.where(absent, 1.0, 1.0 + scale)
        prepared = {**prepared, "conditions": given}
        if self.of_map.of_batch:
            labels = jnp.where(absent, -1, given["labels"])
            prepared["drift_weights"] = flow_maps.drift_weights(labels, batch["label"], given.get(GUIDANCE, 1.0))
        if self.critic is not None:
            prepared["place"] = self.critic.draw(jax.random.fold_in(key, 8), shape[0])
        return prepared

    def loss(self, model, params, batch):
        times, given, dropout = batch["times"], batch["conditions"], batch.get("dropout")
        flow_map, x, eps = model.flow_map(params, given, dropout), batch["x"], batch["eps"]
        source = self.source(model, params, batch)
        value = self.of_map.loss(flow_map, model.schedule, x, eps, times, batch["progress"], **source) * times["weight"]
        return value, {"log_snr": bounded_log_snr(model.schedule, times["t"]), "error": value}

    def source(self, model: FlowMapModel, params: PyTree, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What the map follows: data of the batch, discriminators, a teacher, or its own guided velocity."""
        if "drift_weights" in batch:
            return {"weights": batch["drift_weights"]}
        if self.critic is not None:
            return {"critic": functools.partial(self.critic.logits, params, batch["conditions"], batch["place"])}
        if self.teacher is not None:
            return {"teacher": self.teacher(batch["conditions"])}
        return {} if model.guidance_max is None else {"velocity": guided_velocity(model, params, batch)}


def guided_velocity(model: FlowMapModel, params: PyTree, batch: Mapping[str, Any]) -> Denoiser:
    """``gamma v + (1 - gamma) v_u`` of the noised examples of a batch, with their γ and the map without conditions."""
    absent = model.flow_map(params, null_conditions(model), batch.get("dropout"))
    example, scale = Prediction(batch["x"], batch["eps"]), batch["conditions"][GUIDANCE]
    return flow_maps.guided_velocity(example, absent, absent, scale)


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


def build_critic(
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
