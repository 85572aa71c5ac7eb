"""A diffusion model of a config: the network inside its preconditioning, and what it is trained by."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.data import conditions
from experiments.tasks.diffusion.objectives import Coupling, Objective
from scorekit import denoisers
from scorekit.io import preconditioning
from scorekit.io.preconditioning import ClockInput, LogSNRInput, Preconditioning, TimestepInput
from scorekit.predictions import Target
from scorekit.trees import is_traced
from scorekit.typing import Array, Denoiser, Key, Network, PyTree, Schedule

CRITIC = "critic"
"""Where the parameters of the discriminators of an adversarial flow map are among those of the network."""
LOG_VARIANCE = "log_variance"
"""Where the variables of the log-variance are among those of the network."""
SCHEDULE = "schedule"
"""Where the parameters of a trained schedule (Kingma et al. 2021) are among those of the network, with which they are
averaged, saved and restored."""
Given = Array | Mapping[str, Any]
"""Conditions: labels, or all conditions by name."""


@dataclass(frozen=True)
class Model:
    """A network with its schedule, and the objective that trains it.

    Attributes:
      module: the network.
      schedule: signal and noise at each time.
      target: the output of the network.
      noise_input: the argument of the network for the noise level.
      sigma_data: standard deviation of the data, by which the input is scaled; None leaves it.
      num_classes: classes; label ``num_classes`` is the null token.
      shape: shape of one example.
      extracts: computes the conditions apart from the class.
      objective: the loss with its random draws.
      bins: the number of values of discrete data; None for continuous data.
      map_noise: the highest level of noise-conditioning augmentation; None without.
      log_variance: the learned log-variance of the loss at a noise level; None without.
      coupling: which noise goes with which example; None for independent noise.
    """

    module: nn.Module
    schedule: Schedule
    target: Target
    noise_input: LogSNRInput | TimestepInput | ClockInput
    sigma_data: float | None
    num_classes: int
    shape: tuple[int, ...]
    extracts: Mapping[str, conditions.Extract]
    objective: Objective
    bins: int | None = None
    map_noise: float | None = None
    log_variance: nn.Module | None = None
    coupling: Coupling | None = None
    is_flow_map = False

    @property
    def preconditioning(self) -> Preconditioning:
        """The meaning of the network's input and output."""
        return Preconditioning(self.schedule, self.target, self.noise_input, self.sigma_data)

    def inputs(self, given: Given) -> dict[str, Any]:
        """The conditions as the network takes them."""
        named = by_name(given)
        if not takes_labels(self):
            named.pop("labels", None)
        return named

    def init(self, key: Key) -> PyTree:
        """The initial variables of the network; a learned log-variance or schedule has its own among them."""
        given = self.inputs(jnp.zeros(1, jnp.int32))
        params = initialise(self.module, key, jnp.zeros((1, *self.shape)), jnp.zeros(1), **given)
        if self.log_variance is not None:
            params = {**params, LOG_VARIANCE: self.log_variance.init(jax.random.fold_in(key, 1), jnp.zeros(1))}
        return {**params, SCHEDULE: init_schedule(self.schedule)} if self.objective.learns_schedule else params

    def network(self, params: PyTree, given: Given, dropout: Array | None = None) -> Network:
        """``(x_t, t) -> output`` at these parameters and conditions, inside the preconditioning.

        Its dropout is off without the seeds ``dropout`` ``(B,)``, one for each example.
        """
        of_the_loss, named = (CRITIC, LOG_VARIANCE, SCHEDULE), self.inputs(given)
        variables = {name: value for name, value in params.items() if name not in of_the_loss}
        if dropout is None:
            bound = Partial(self.module.apply, variables, **named)
        else:
            bound = Partial(functools.partial(_with_dropout, self.module), variables, dropout, named)
        return preconditioning.precondition(bound, self.preconditioning)

    def denoiser(self, params: PyTree, given: Given) -> Denoiser:
        """The conditional denoiser; label ``num_classes`` is the null token."""
        return denoisers.denoiser_from_network(self.network(params, given), self.schedule, self.target)


def at_params(model: Model, params: PyTree) -> Model:
    """The model with the schedule that these parameters hold; where none is trained, the model itself."""
    if SCHEDULE not in params:
        return model
    return replace(model, schedule=dataclasses.replace(cast(Any, model.schedule), **params[SCHEDULE]))


def init_schedule(schedule: Schedule) -> dict[str, Array]:
    """The initial parameters: the fields of :func:`scorekit.schedules.learned`."""
    names = [field.name for field in dataclasses.fields(cast(Any, schedule))]
    return {name: jnp.array(getattr(schedule, name), jnp.float32) for name in names}


_init = functools.lru_cache(maxsize=4)(lambda module: jax.jit(module.init))  # traced once for shapes and values


def initialise(module: nn.Module, key: Key, *args: Any, **given: Any) -> PyTree:
    """``module.init``, compiled for a single call: on CPU without passes that take longer than they save."""
    if is_traced(key) or jax.default_backend() != "cpu":
        return _init(module)(key, *args, **given)
    lowered = _init(module).lower(key, *args, **given)
    return lowered.compile({"xla_backend_optimization_level": "1"})(key, *args, **given)


def by_name(given: Given) -> dict[str, Any]:
    """All conditions by name."""
    return dict(given) if isinstance(given, Mapping) else {"labels": given}


def takes_labels(model: Model) -> bool:
    """Whether the network has classes: not with ``config.data.label=none``."""
    return getattr(model.module, "num_classes", 0) is not None


def log_variance(model: Model, params: PyTree, log_snr: Array) -> Array:
    """The learned log-variance of the loss ``(B,)`` at a log-SNR ``(B,)``."""
    assert model.log_variance is not None
    return cast(Array, model.log_variance.apply(params[LOG_VARIANCE], log_snr / 4))


def _with_dropout(module: nn.Module, params: PyTree, seeds: Array, named: PyTree, x: Array, noise: Array) -> Array:
    """Each example draws from its own seed, so that the result depends on no other, nor on the number of devices."""

    def one(seed, named, x, noise):
        named, x, noise = jax.tree.map(lambda leaf: leaf[None], (named, x, noise))
        return module.apply(params, x, noise, rngs={"dropout": jax.random.key(seed)}, **named)[0]

    return jax.vmap(one)(seeds, named, x, noise)


def unconditional(model: Model, params: PyTree) -> Denoiser:
    """The denoiser with the null token for every example of a batch."""
    return Partial(functools.partial(_unconditional, model), params)


def _unconditional(model: Model, params: PyTree, x_t: Array, t: Array):
    return model.denoiser(params, jnp.full(x_t.shape[0], model.num_classes, jnp.int32))(x_t, t)
