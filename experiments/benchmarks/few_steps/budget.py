"""Training for a number of CPU seconds, whatever else the machine does."""

import math
import time
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.cli.config import Config
from experiments.data.dataset import Dataset
from experiments.training import build_optimizer
from experiments.training.hooks import skip_limit
from experiments.training.students import TrainingTask
from scorekit import training
from scorekit.typing import PyTree

CONSTANT = {"warmup_steps": 0, "final_fraction": 1.0}
"""Fields of ``config.training``: the learning rate follows the time instead, see :func:`train`."""
_WARMUP = 0.05
_COMPILING = 2  # updates: of the new state, and of one that an update has returned


class Trained(NamedTuple):
    """Averaged parameters, and what they cost without compilation."""

    params: PyTree
    updates: int
    seconds: float


def rate(progress: float) -> float:
    """The factor of the learning rate: linear to 1 in a twentieth of the time, then a cosine to 0."""
    return min(progress / _WARMUP, 1.0) * (1.0 + math.cos(math.pi * progress)) / 2.0


def train(task: TrainingTask, config: Config, dataset: Dataset, seconds: float) -> Trained:
    """Trains a task, whose config has :data:`CONSTANT`, until ``seconds`` of CPU time of all threads are spent.

    The learning rate is a function of the share that is spent. The first two updates, which compile, do not count.
    """
    options, spent, updates = config.training, 0.0, 0
    optimizer = optax.chain(
        task.optimizer or build_optimizer(options), optax.inject_hyperparams(optax.scale)(step_size=0.0)
    )
    params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), task.params)  # the step takes its buffers
    state = training.init_state(jax.random.key(config.seed), params, optimizer, options.ema_decays)
    step = training.make_train_step(task.prepare, task.loss, optimizer)
    while spent < seconds:
        progress = spent / seconds
        scaling = cast(Any, state.opt_state)[-1]
        scaling.hyperparams["step_size"] = jnp.float32(rate(progress))
        batch = dataset.batch(config.seed, updates, options.batch_size)
        start = time.process_time()
        state, _ = step(state, {**batch, "progress": np.full(options.batch_size, progress, np.float32)})
        jax.block_until_ready(state)
        spent += (time.process_time() - start) * (updates >= _COMPILING)
        updates += 1
        skip_limit.check(state, options.skip_limit)
    return Trained(task.student(state.ema[str(options.ema_decays[0])]), updates, spent)
