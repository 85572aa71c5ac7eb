"""Training: nothing here compiles a step, because its arguments are checked when it is built."""

import dataclasses
import tempfile

import jax
import numpy as np
import optax

from experiments.benchmarks.faults.calls import Call, Data, Number, Shaped, call
from scorekit import training

_PARAMS = {"w": np.ones(2, np.float32)}
_OPTIMIZER = optax.sgd(0.1)
_FLOATING = {"shape": "any shape", "empty": "any shape", "nan": "the parameters of the caller"}
_RATES = {"learning_rate": 0.1, "warmup_steps": 1, "total_steps": 4}


def _opened(**arguments):
    with tempfile.TemporaryDirectory() as folder, training.Checkpoints(folder, **arguments):
        return folder


def _restored(**arguments):
    """A folder without checkpoints: whatever is asked for is not there, but the argument is checked first."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return training.restore_params(folder, **arguments)
        except FileNotFoundError:
            return None


def _averaged(**arguments):
    """As :func:`_restored`, of snapshots."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return training.post_hoc_ema(folder, **arguments)
        except FileNotFoundError:
            return None


def _saved(dtype):
    state = training.init_state(jax.random.key(0), _PARAMS, _OPTIMIZER, (), (0.1,))
    with tempfile.TemporaryDirectory() as folder:
        training.save_snapshots(folder, dataclasses.replace(state, step=np.int32(1)), dtype)


def _checked(limit):
    state = training.init_state(jax.random.key(0), _PARAMS, _OPTIMIZER)
    training.check_finite(state, limit)


ROWS: dict[str, Call] = {
    "training.Checkpoints": call(_opened, metric="loss"),
    "training.restore_params": call(
        _restored,
        decay=Number(0.9, low=-0.1, high=1.0, documented={"text": "the key of an average"}),
    ),
    "training.check_finite": call(_checked, limit=1),
    "training.init_ema": call(training.init_ema, params=Data(_PARAMS, _FLOATING), decays=(0.9,)),
    "training.init_state": call(
        lambda **kwargs: training.init_state(jax.random.key(0), optimizer=_OPTIMIZER, **kwargs).params,
        params=Data(_PARAMS, _FLOATING),
    ),
    "training.post_hoc_weights": call(
        lambda updates, widths, at, width: training.post_hoc_weights(
            np.array([updates]), np.array([widths]), at, width
        ),
        updates=5,
        widths=0.1,
        at=5,
        width=0.1,
    ),
    "training.post_hoc_ema": call(_averaged, width=0.1),
    "training.save_snapshots": call(_saved, dtype="bfloat16"),
    "training.update_ema": call(
        lambda **kwargs: training.update_ema({"0.9": _PARAMS}, **kwargs), params=Shaped(_PARAMS), updates=3
    ),
    "training.learning_rate_schedule": call(training.learning_rate_schedule, **_RATES),
    "training.make_optimizer": call(training.make_optimizer, **_RATES),
    "training.make_train_step": call(
        training.make_train_step,
        prepare=lambda key, batch: batch,
        loss=lambda params, batch: (batch["x"], {}),
        optimizer=_OPTIMIZER,
        parallel="jit",
        accumulate=1,
    ),
}

EXEMPT = {
    "training.Shard": "made by the training step",
    "training.gathered": "takes a tree of anything",
    "training.place_batch": "takes a tree of arrays of any values, and a mesh",
    "training.replicate": "takes a tree of arrays of any values, and a mesh",
    "training.Restored": "a result",
    "training.TrainStep": "a protocol",
    "training.batch_sharding": "takes a mesh",
    "training.replicated": "takes a mesh",
    "training.power_ema_width": "takes any name",
    "training.restore_extra": "takes a path and a step; None of what is not there",
    "training.TrainState": "built by init_state",
    "training.projected": "takes an optax transformation and a function",
    "training.place_state": "takes a tree of arrays of any values, and a mesh",
    "training.state_sharding": "takes a tree of arrays of any values, and a mesh",
}
