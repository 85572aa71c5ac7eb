"""The training step and the sampler of a config, lowered for devices that need not be at hand, from shapes alone."""

import math
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments import tasks, training
from experiments.cli.config import Config
from experiments.data.dataset import Dataset
from experiments.models.devices import all_devices, holding, placed_shapes, planned_on
from experiments.planning.counting import flops
from experiments.training.loop import Trainable
from scorekit import training as steps
from scorekit.typing import PyTree


class Lowered(NamedTuple):
    """A program before it is compiled.

    ``flops`` are of all devices, ``state`` bytes on a device that stay between calls (the train state, or the
    parameters of a sampler), and ``evaluations`` those of the network, one after the other.
    """

    program: jax.stages.Lowered
    flops: float
    state: int
    examples: int
    evaluations: int
    parameters: int


def lower(config: Config, dataset: Dataset, devices: list[Any], memory: float) -> dict[str, Lowered]:
    """The programs of a config for these devices of so many bytes: ``training`` is a step, ``sampling`` draws a batch,
    where there is a sampler."""
    with planned_on(devices, memory):
        task = tasks.of(config)
        setup = task.build(config, dataset)
        one = setup.trained
        params = jax.eval_shape(one.init, jax.random.key(config.seed))
        mesh = all_devices(training.sharing(config.training, len(devices)))
        lowered = {"training": _train_step(config, dataset, one, params, mesh)}
        if hasattr(setup.generate, "trace"):
            lowered["sampling"] = _sampler(config, dataset, setup, params)
    return lowered


def _train_step(config: Config, dataset: Dataset, one: Trainable, params: PyTree, mesh: Mesh) -> Lowered:
    options = config.training
    averages = options.ema_decays, options.power_ema or ()
    state = jax.eval_shape(lambda x: steps.init_state(jax.random.key(0), x, one.optimizer, *averages), params)
    state = placed_shapes(state, mesh)
    rows, size = steps.batch_sharding(mesh), options.batch_size
    shape = lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), jnp.asarray(x).dtype, sharding=rows)
    batch = jax.tree.map(shape, dict(dataset.batch(0, 0, 1)))
    how = {"parallel": options.parallel, "accumulate": options.accumulate, "gathers": one.gathers}
    traced = steps.make_train_step(one.prepare, one.loss, one.optimizer, mesh=mesh, **how).trace(state, batch)
    return _lowered(traced, state, size, 1, params)


def _sampler(config: Config, dataset: Dataset, setup: tasks.Setup, params: PyTree) -> Lowered:
    size, generate = config.sampling.batch_size, cast(Any, setup.generate)
    traced = generate.trace(params, np.resize(dataset.test["label"], size), config.sampling.guidance_scale)
    placed = placed_shapes(params, holding(params, config.training.fsdp))
    return _lowered(traced, placed, size, generate.evaluations, params)


def _lowered(traced: jax.stages.Traced, state: PyTree, examples: int, evaluations: int, params: PyTree) -> Lowered:
    size = sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(state))
    count = sum(x.size for x in jax.tree.leaves(params))
    return Lowered(traced.lower(), flops(traced.jaxpr.jaxpr), size, examples, evaluations, count)
