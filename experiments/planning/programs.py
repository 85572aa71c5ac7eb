"""The training step and the sampler of a config, lowered for devices that need not be at hand, from shapes alone."""

import contextlib
import math
import tempfile
from collections.abc import Collection
from pathlib import Path
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
from experiments.training.loop import Fit
from scorekit import training as steps
from scorekit.typing import PyTree


class Lowered(NamedTuple):
    """A program before it is compiled.

    Attributes:
      program: the program.
      flops: operations of all devices, loops as often as they run.
      state: bytes on a device that stay between calls: the train state, or the parameters of a sampler.
      examples: examples of a call.
      evaluations: evaluations of the network one after the other.
      parameters: number of parameters.
    """

    program: jax.stages.Lowered
    flops: float
    state: int
    examples: int
    evaluations: int
    parameters: int


PROGRAMS = ("training", "sampling")


def lower(
    config: Config, dataset: Dataset, devices: list[Any], memory: float, names: Collection[str] = PROGRAMS
) -> dict[str, Lowered]:
    """The programs of a config: ``training``, and ``sampling`` of a batch where its model draws samples.

    Args:
      devices: devices to compile for.
      memory: bytes of each of them.
      names: names of the programs that are wanted.
    """
    found = {}
    with planned_on(devices, memory):
        model, fit = first_fit(config, dataset)
        if "training" in names:
            mesh = all_devices(training.sharing(config.training, len(devices)))
            found["training"] = _train_step(dataset, fit, mesh)
        if "sampling" in names and hasattr(model.generate, "trace"):
            found["sampling"] = _sampler(config, dataset, model, fit.params)
    return found


def first_fit(config: Config, dataset: Dataset) -> tuple[tasks.Model, Fit]:
    """The model of a config and its first fit, whose parameters are shapes, of values where its task needs them."""
    task, found = tasks.of(config), {}
    model = task.build(config, dataset)

    def first() -> PyTree:
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.closing(task.stages(config, dataset, model, Path(folder))) as stages,
        ):
            found["fit"] = next(stages)
        return found["fit"].params

    try:
        shapes = jax.eval_shape(first)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):  # a student has a teacher
        params = first()
        shapes = jax.eval_shape(lambda: params)
    return model, found["fit"]._replace(params=shapes)


def _train_step(dataset: Dataset, fit: Fit, mesh: Mesh) -> Lowered:
    options = fit.config.training
    optimizer = fit.optimizer or training.build_optimizer(options)
    averages = options.ema_decays, options.power_ema or ()
    state = jax.eval_shape(lambda x: steps.init_state(jax.random.key(0), x, optimizer, *averages), fit.params)
    state = placed_shapes(state, mesh)
    rows, size = steps.batch_sharding(mesh), options.batch_size
    shape = lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), jnp.asarray(x).dtype, sharding=rows)
    batch = jax.tree.map(shape, dict(dataset.batch(0, 0, 1)))
    how = {"parallel": options.parallel, "accumulate": options.accumulate, "gathers": fit.gathers}
    traced = steps.make_train_step(fit.prepare, fit.loss, optimizer, mesh=mesh, **how).trace(state, batch)
    return _lowered(traced, _on_device(state), size, 1, fit.params)


def _sampler(config: Config, dataset: Dataset, model: tasks.Model, params: PyTree) -> Lowered:
    size, generate = config.sampling.batch_size, cast(Any, model.generate)
    labels = np.resize(dataset.test["label"], size)
    traced = generate.trace(params, labels, config.sampling.guidance_scale)
    placed = placed_shapes(params, holding(params, config.training.fsdp))
    return _lowered(traced, _on_device(placed), size, generate.evaluations, params)


def _lowered(traced: jax.stages.Traced, state: int, examples: int, evaluations: int, params: PyTree) -> Lowered:
    count = sum(x.size for x in jax.tree.leaves(params))
    return Lowered(traced.lower(), flops(traced.jaxpr.jaxpr), state, examples, evaluations, count)


def _on_device(tree: PyTree) -> int:
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))
