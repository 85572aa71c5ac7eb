"""Training, where nothing compiles a step: arguments are checked when it is built; tuned samplers; weights."""

import dataclasses
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scorekit import denoisers, densities, io, schedules, solvers, training, tuning
from scorekit.io.preconditioning import ve
from scorekit.networks import MLP
from valid_calls.kinds import Choice, Count, Data, Number, Shaped, call

_PARAMS = {"w": np.ones(2, np.float32)}
_OPTIMIZER = optax.sgd(0.1)
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


_KEY = jax.random.key(0)
_SCHEDULE = schedules.rectified_flow()
_DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(1, np.float32), std=0.5), _SCHEDULE)
_TS = np.array([1.0, 0.5, 0.0], np.float32)
_X = np.array([[1.0], [-0.5]], np.float32)
_TUNED = tuning.Tuned(jnp.asarray(_TS), solvers.Euler(), jnp.asarray(0.5), jnp.asarray(0.25), {})


def _tune(ts, noise, end, held_out, **kwargs):
    pairs, held_out = tuning.Pairs(noise, end), tuning.Pairs(held_out, 0.5 * _X[None])
    return tuning.tune(_DENOISER, _SCHEDULE, solvers.Euler(), {"given": ts}, pairs, held_out, **kwargs).after


def _with_file(function):
    def run(**kwargs):
        with tempfile.TemporaryDirectory() as folder:
            return function(tuning.save_grid(f"{folder}/grid.json", _TUNED, _SCHEDULE), **kwargs)

    return run


_MLP = MLP(features=4, blocks=1)
_SHAPES = jax.eval_shape(_MLP.init, jax.random.key(0), np.ones((1, 2), np.float32), 0.0)
_LOADED = io.Loaded(_MLP, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _SHAPES), ve(), (2,))
USUAL = {"params": Data(_PARAMS, "shape, empty; nan: the parameters of the caller"), "width": 0.1}
ROWS = {
    "training.Checkpoints": call(_opened, metric="loss"),
    "training.restore_params": call(_restored, decay=Number(0.9, "text: the key of an average", low=-0.1, high=1.0)),
    "training.check_finite": call(_checked, limit=1),
    "training.init_ema": call(decays=(0.9,)),
    "training.init_state": call(
        lambda **kwargs: training.init_state(jax.random.key(0), optimizer=_OPTIMIZER, **kwargs).params,
        params=Data(_PARAMS, "shape, empty; nan: the parameters of the caller"),
    ),
    "training.post_hoc_weights": call(
        lambda updates, widths, at, width: training.post_hoc_weights(
            np.array([updates]), np.array([widths]), at, width
        ),
        updates=5,
        widths=0.1,
        at=5,
    ),
    "training.post_hoc_ema": call(_averaged, width=0.1),
    "training.save_snapshots": call(_saved, dtype="bfloat16"),
    "training.update_ema": call(ema={"0.9": _PARAMS}, params=Shaped(_PARAMS), updates=3),
    "training.learning_rate_schedule": call(**_RATES),
    "training.make_optimizer": call(**_RATES),
    "training.make_train_step": call(
        prepare=lambda key, batch: batch,
        loss=lambda params, batch: (batch["x"], {}),
        optimizer=_OPTIMIZER,
        parallel="jit",
        accumulate=1,
    ),
    "tuning.distances": call(
        denoiser=_DENOISER,
        schedule=_SCHEDULE,
        solver=solvers.Euler(),
        ts=Data(_TS),
        noise=Data(_X, alias="end"),
        end=Data(0.5 * _X),
    ),
    "tuning.fine_pairs": call(
        lambda **kwargs: tuning.fine_pairs(_KEY, _DENOISER, _SCHEDULE, **kwargs).end,
        like=Data(_X, "nan: only its shape and dtype are read; shape: any that the denoiser takes", alias="x_t"),
        batches=1,
        t_max=1.0,
        t_min=0.0,
        steps=4,
    ),
    "tuning.tune": call(
        _tune,
        ts=Data(_TS, alias="grids"),
        noise=Data(_X[None], alias="pairs"),
        end=Data(0.5 * _X[None], alias="pairs"),
        held_out=Data(_X[None]),
        steps=1,
    ),
    "tuning.save_grid": call(_with_file(lambda path: tuning.load_grid(path).ts)),
    "tuning.load_grid": call(
        lambda path: _with_file(lambda valid: tuning.load_grid(path or valid).ts)(), path=Choice("")
    ),
    "tuning.restore_solver": call(
        lambda solver: _with_file(lambda path: tuning.restore_solver(tuning.load_grid(path), solver, _SCHEDULE))(),
        solver=Choice(solvers.Euler()),
    ),
    "io.Loaded": call(lambda num: _LOADED.prior(jax.random.key(0), num), num=Count(2)),
    "io.preconditioning.ddpm": call(
        lambda **kwargs: io.preconditioning.ddpm(**kwargs).schedule.log_snr(0.5),
        betas=Choice("linear", alias="name"),
        target=Choice("eps"),
    ),
    "io.preconditioning.vp": call(
        lambda **kwargs: io.preconditioning.vp(**kwargs).schedule.log_snr(0.5),
        beta_min=Number(0.1, low=0.0),
        beta_max=Number(20.0, low=0.05),
    ),
    "io.preconditioning.ve": call(
        lambda **kwargs: io.preconditioning.ve(**kwargs).schedule.log_snr(0.5),
        sigma_min=Number(0.02, low=0.0),
        sigma_max=Number(100.0, low=0.01),
    ),
    "io.preconditioning.edm": call(
        lambda **kwargs: io.preconditioning.edm(**kwargs).schedule.log_snr(0.5),
        sigma_min=Number(0.02, low=-0.1),
        sigma_max=Number(80.0, low=0.01),
    ),
}
