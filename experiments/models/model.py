"""A model of a config: the network with its schedule, target, weighting and times, and random parameters."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.config import Config, require
from experiments.data import conditions
from experiments.data.dataset import Dataset
from experiments.models import choices, critics
from experiments.models.critics import CRITIC
from experiments.models.flow_map_losses import FlowMapLoss
from scorekit import denoisers, flow_maps
from scorekit.io import preconditioning
from scorekit.io.preconditioning import ClockInput, LogSNRInput, Preconditioning, TimestepInput
from scorekit.likelihood import LogLikelihood, log_likelihood
from scorekit.networks import LogVariance
from scorekit.predictions import Target
from scorekit.times import TimeSampler
from scorekit.trees import is_traced
from scorekit.typing import Array, Denoiser, FlowMap, Key, Network, Number, PyTree, Schedule, Weighting

LOG_VARIANCE = "log_variance"
"""Where the variables of the log-variance are among those of the network."""
SCHEDULE = "schedule"
"""Where the parameters of a trained schedule (Kingma et al. 2021) are among those of the network, with which they are
averaged, saved and restored."""
GUIDANCE = "guidance_scale"
"""The name of γ among the conditions of a flow map; without it, γ is 1."""


class Model(NamedTuple):
    """The model of a config; ``extracts`` computes the conditions apart from the class."""

    module: nn.Module
    schedule: Schedule
    target: Target
    weighting: Weighting
    times: TimeSampler
    num_classes: int
    shape: tuple[int, ...]
    extracts: Mapping[str, conditions.Extract]
    map_noise: float | None = None
    """The highest level of noise-conditioning augmentation; None for a network that is not conditioned on one."""
    log_variance: nn.Module | None = None
    """The learned log-variance of the loss at a noise level; None for a loss without."""
    noise_input: LogSNRInput | TimestepInput | ClockInput = LogSNRInput(scale=0.25)
    sigma_data: float | None = None
    learns_schedule: bool = False
    """Whether the schedule is trained with the network; :func:`at_params` has that of some parameters."""
    bins: int | None = None
    """The number of values of discrete data."""
    flow_map: FlowMapLoss | None = None
    """The loss of a flow map, whose network gets the length of the jump; None for a denoiser."""
    guidance_max: float | None = None
    """The largest γ that a flow map is conditioned on; None for one that is not."""
    coupling: choices.Coupling | None = None
    """Which noise goes with which example; None for independent noise."""
    divergence: float | None = None
    """The weight of the loss of the divergence head of a flow map; None for a network without one."""
    critic: critics.Critic | None = None
    """The discriminators that a generator is trained against."""
    frame_levels: bool = False
    """Whether every frame has a noise level of its own in training."""

    @property
    def preconditioning(self) -> Preconditioning:
        """The meaning of the network's input and output."""
        return Preconditioning(self.schedule, self.target, self.noise_input, self.sigma_data)


def build_model(config: Config, dataset: Dataset) -> Model:
    """Puts the parts of the config together."""
    schedule, extracts = choices.build_schedule(config), conditions.build_conditions(config, dataset)
    sizes, coupling = conditions.sizes(extracts, dataset), choices.build_coupling(config)
    if coupling is not None and coupling.starts_at_map and sizes["map_shape"] != dataset.shape:
        require(
            False, "conditions.map.name", config.conditions.map.name, f"a map of shape {dataset.shape}, as the data"
        )
    if config.loss.map_noise is not None:
        *positions, channels = sizes["map_shape"]
        sizes["map_shape"] = (*positions, channels + 1)  # the last channel is the noise level
    num_classes = dataset.num_classes if dataset.labelled else None
    module = choices.build_network(config, num_classes, outputs=dataset.shape[-1], **sizes)
    return Model(
        module=module if config.loss.divergence is None else module.clone(divergence=True),
        schedule=schedule,
        target=choices.build_target(config),
        weighting=choices.build_weighting(config, schedule),
        times=choices.build_times(config),
        num_classes=dataset.num_classes,
        shape=dataset.shape,
        extracts=extracts,
        map_noise=config.loss.map_noise,
        log_variance=LogVariance() if config.loss.log_variance else None,
        noise_input=choices.build_noise_input(config, schedule),
        sigma_data=config.preconditioning.sigma_data,
        learns_schedule=config.schedule.name == "learned",
        bins=dataset.bins,
        flow_map=choices.build_flow_map(config),
        coupling=coupling,
        guidance_max=config.loss.guidance_max,
        divergence=config.loss.divergence,
        critic=critics.build(config, dataset.shape, num_classes, sizes),
        frame_levels=config.loss.levels == "frame",
    )


def at_params(model: Model, params: PyTree) -> Model:
    """The model with the schedule that these parameters hold; where none is trained, the model itself."""
    if SCHEDULE not in params:
        return model
    return model._replace(schedule=dataclasses.replace(cast(Any, model.schedule), **params[SCHEDULE]))


def init_schedule(schedule: Schedule) -> dict[str, Array]:
    """The initial parameters: the fields of :func:`scorekit.schedules.learned`."""
    names = [field.name for field in dataclasses.fields(cast(Any, schedule))]
    return {name: jnp.array(getattr(schedule, name), jnp.float32) for name in names}


def init_params(model: Model, key: Key) -> PyTree:
    """The initial variables of the network; with a learned log-variance also ``log_variance``, with a learned schedule
    also ``schedule``."""
    x = jnp.zeros((1, *model.shape))
    given = {} if model.flow_map is None else {"scalars": scalars(model, {}, jnp.zeros(1))}
    labels = jnp.zeros(1, jnp.int32) if takes_labels(model) else None
    params = _initialise(model.module, key, x, jnp.zeros(1), labels, **given)
    if model.log_variance is not None:
        params = {**params, LOG_VARIANCE: init_log_variance(model, key)}
    if model.learns_schedule:
        params = {**params, SCHEDULE: init_schedule(model.schedule)}
    if model.critic is not None:
        seen = model.critic.inputs(jnp.zeros((1, *model.shape)), {"labels": labels})
        params = {**params, CRITIC: _initialise(model.critic.module, jax.random.fold_in(key, 2), **seen)}
    return params


_init = functools.lru_cache(maxsize=4)(lambda module: jax.jit(module.init))  # traced once for shapes and values


def _initialise(module: nn.Module, key: Key, *args: Any, **given: Any) -> PyTree:
    """``module.init``, compiled for a single call: on CPU without passes that take longer than they save."""
    if is_traced(key) or jax.default_backend() != "cpu":
        return _init(module)(key, *args, **given)
    lowered = _init(module).lower(key, *args, **given)
    return lowered.compile({"xla_backend_optimization_level": "1"})(key, *args, **given)


def takes_labels(model: Model) -> bool:
    """Whether the network has classes: not with ``config.data.label=none``."""
    return getattr(model.module, "num_classes", 0) is not None


def scalars(model: Model, named: Mapping[str, Any], span: Array) -> Array:
    """The scalar conditions of the network of a flow map, for jumps of length ``span`` ``(B,)`` of the clock.

    ``(B,)``; with γ as a condition ``(B, 2)``, the other being its logarithm.
    """
    if model.guidance_max is None:
        return span
    return jnp.stack([span, jnp.broadcast_to(jnp.log(named.get(GUIDANCE, 1.0)), span.shape)], axis=-1)


def init_log_variance(model: Model, key: Key) -> PyTree:
    """The initial variables of the log-variance of the loss."""
    assert model.log_variance is not None
    return model.log_variance.init(jax.random.fold_in(key, 1), jnp.zeros(1))


def log_variance(model: Model, params: PyTree, log_snr: Array) -> Array:
    """The learned log-variance of the loss ``(B,)`` at a log-SNR ``(B,)``."""
    assert model.log_variance is not None
    return cast(Array, model.log_variance.apply(params[LOG_VARIANCE], log_snr / 4))


def own_variables(variables: PyTree) -> dict[str, Any]:
    """The variables that the network takes, without those of its loss."""
    return {name: value for name, value in variables.items() if name not in (LOG_VARIANCE, SCHEDULE, CRITIC)}


def network(
    model: Model,
    params: PyTree,
    given: Array | Mapping[str, Any],
    dropout: Array | None = None,
    divergence: bool = False,
) -> Network:
    """``(x_t, t) -> output`` at these parameters and conditions (labels, or all conditions by name), inside the
    preconditioning of the model. Its dropout is off without the seeds ``dropout`` ``(B,)``, one for each example. With
    ``divergence`` the output is the divergence head's."""
    named = given if isinstance(given, Mapping) else {"labels": given}
    if model.flow_map is not None and "scalars" not in named:
        named = {**named, "scalars": scalars(model, named, jnp.zeros(jnp.shape(named["labels"])))}
    dropped = (GUIDANCE,) if takes_labels(model) else (GUIDANCE, "labels")
    named = {name: value for name, value in named.items() if name not in dropped}
    of_network = own_variables(params)
    if dropout is None:
        bound = Partial(model.module.apply, of_network, **named)
    else:
        bound = Partial(functools.partial(_with_dropout, model.module), of_network, dropout, named)
    if model.divergence is not None:
        bound = Partial(functools.partial(_channels, divergence), bound)
    return preconditioning.precondition(bound, model.preconditioning)


def _channels(divergence: bool, both: Network, x: Array, noise: Array) -> Array:
    output = both(x, noise)
    return output[..., x.shape[-1] :] if divergence else output[..., : x.shape[-1]]


def _with_dropout(module: nn.Module, params: PyTree, seeds: Array, named: PyTree, x: Array, noise: Array) -> Array:
    """Each example draws from its own seed, so that the result depends on no other, nor on the number of devices."""

    def one(seed, named, x, noise):
        named, x, noise = jax.tree.map(lambda leaf: leaf[None], (named, x, noise))
        return module.apply(params, x, noise, rngs={"dropout": jax.random.key(seed)}, **named)[0]

    return jax.vmap(one)(seeds, named, x, noise)


def denoiser(model: Model, params: PyTree, given: Array | Mapping[str, Any]) -> Denoiser:
    """The conditional denoiser, or flow map; label ``num_classes`` is the null token."""
    if model.flow_map is not None:
        return flow_map(model, params, given)
    return denoisers.denoiser_from_network(network(model, params, given), model.schedule, model.target)


def flow_map(model: Model, params: PyTree, given: Array | Mapping[str, Any], dropout: Array | None = None) -> FlowMap:
    """The conditional flow map, ``(x_t, t, s=t) -> Prediction``."""
    named = given if isinstance(given, Mapping) else {"labels": given}
    two_times = Partial(functools.partial(_two_times, model, False), params, named, dropout)
    return flow_maps.flow_map_from_network(two_times, model.schedule, model.target)


def divergence_head(
    model: Model, params: PyTree, given: Array | Mapping[str, Any], dropout: Array | None = None
) -> Callable[[Array, Array, Array], Array]:
    """The divergence head of the conditional flow map, ``(x_t, t, s) -> h``, shaped like ``x_t``."""
    named = given if isinstance(given, Mapping) else {"labels": given}
    return Partial(functools.partial(_two_times, model, True), params, named, dropout)


def likelihood_ends(model: Model) -> tuple[Array, float]:
    """The first and the last time of the likelihood. Discrete data begin where a bin is eight standard deviations of
    the noise wide: t = 1e-5 for linear VP and 256 bins."""
    if model.bins is None:
        return jnp.array(1e-3), 1.0 - 1e-3
    return jnp.maximum(0.0, model.schedule.time_at(2.0 * math.log(4.0 * (model.bins - 1)))), 1.0 - 1e-3


def map_likelihood(
    model: Model, params: PyTree, given: Array | Mapping[str, Any], x: Array, jumps: int, t_min: Number, t_max: Number
) -> LogLikelihood:
    """The likelihood of states at ``t_min`` by equal jumps of the flow map and its divergence head."""
    log_det = flow_maps.log_det_from_network(divergence_head(model, params, given), model.schedule)
    rule, ts = flow_map(model, params, given), jnp.linspace(t_max, t_min, jumps + 1)
    return log_likelihood(None, rule, model.schedule, x, ts=ts, log_det=log_det)


def _two_times(
    model: Model, head: bool, params: PyTree, named: Mapping[str, Any], dropout, x_t: Array, t: Array, s: Array
):
    span = jnp.broadcast_to(flow_maps.clock(model.schedule, t) - flow_maps.clock(model.schedule, s), x_t.shape[:1])
    return network(model, params, {**named, "scalars": scalars(model, named, span)}, dropout, head)(x_t, t)


def unconditional(model: Model, params: PyTree) -> Denoiser:
    """The denoiser with the null token for every example of a batch."""
    return Partial(functools.partial(_unconditional, model), params)


def _unconditional(model: Model, params: PyTree, x_t: Array, t: Array):
    return denoiser(model, params, jnp.full(x_t.shape[0], model.num_classes, jnp.int32))(x_t, t)
