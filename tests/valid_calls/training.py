"""Training, where nothing compiles a step: arguments are checked when it is built; tuned samplers; weights."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scorekit import denoisers, densities, io, solvers, training, tuning
from scorekit.io import preconditioning
from scorekit.networks import MLP
from valid_calls.common import FLOW, KEY, in_folder
from valid_calls.kinds import Choice, Count, Data, Number, Shaped, call

_PARAMS = {"w": np.ones(2, np.float32)}
_OPTIMIZER = optax.sgd(0.1)
_STATE = training.init_state(KEY, _PARAMS, _OPTIMIZER, (), (0.1,))
_DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(1, np.float32), std=0.5), FLOW)
_TS = np.array([1.0, 0.5, 0.0], np.float32)
_X = np.array([[1.0], [-0.5]], np.float32)
_TUNED = tuning.Tuned(jnp.asarray(_TS), solvers.Euler(), jnp.asarray(0.5), jnp.asarray(0.25), {})


def _of_nothing(function):
    """A folder without checkpoints: what should be read is not there, but the argument is checked first."""

    def run(folder, **arguments):
        with contextlib.suppress(FileNotFoundError):
            return function(folder, **arguments)

    return in_folder(run)


def _saved(folder, dtype):
    training.save_snapshots(folder, dataclasses.replace(_STATE, step=np.int32(1)), dtype)


def _tune(ts, noise, end, held_out, **kwargs):
    pairs, held_out = tuning.Pairs(noise, end), tuning.Pairs(held_out, 0.5 * _X[None])
    return tuning.tune(_DENOISER, FLOW, solvers.Euler(), {"given": ts}, pairs, held_out, **kwargs).after


def _with_file(function):
    save = lambda folder: tuning.save_grid(f"{folder}/grid.json", _TUNED, FLOW)
    return in_folder(lambda folder, **kwargs: function(save(folder), **kwargs))


def _preconditioning(name, **arguments):
    """The log-SNR of the schedule of a preconditioning."""
    function = getattr(preconditioning, name)
    return call(lambda **given: function(**given).schedule.log_snr(0.5), **arguments)


_MLP = MLP(features=4, blocks=1)
_SHAPES = jax.eval_shape(_MLP.init, KEY, np.ones((1, 2), np.float32), 0.0)
_WEIGHTS = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _SHAPES)
USUAL = {
    "params": Data(_PARAMS, "shape, empty; nan: the parameters of the caller"),
    "width": 0.1,
    "optimizer": _OPTIMIZER,
    "denoiser": _DENOISER,
    "schedule": FLOW,
    "solver": solvers.Euler(),
    "key": KEY,
}
ROWS = {
    "training.Checkpoints": call(
        in_folder(lambda folder, **given: training.Checkpoints(folder, **given).close()), metric="loss"
    ),
    "training.restore_params": call(
        _of_nothing(training.restore_params), decay=Number(0.9, "text: the key of an average", low=-0.1, high=1.0)
    ),
    "training.check_finite": call(state=_STATE, limit=1),
    "training.init_ema": call(decays=(0.9,)),
    "training.init_state": call(lambda params, **given: training.init_state(KEY, params, _OPTIMIZER, **given).params),
    "training.post_hoc_weights": call(
        lambda updates, widths, at, width: training.post_hoc_weights(
            np.array([updates]), np.array([widths]), at, width
        ),
        updates=5,
        widths=0.1,
        at=5,
    ),
    "training.post_hoc_ema": call(_of_nothing(training.post_hoc_ema), width=0.1),
    "training.save_snapshots": call(in_folder(_saved), dtype="bfloat16"),
    "training.update_ema": call(ema={"0.9": _PARAMS}, params=Shaped(_PARAMS), updates=3),
    "training.make_train_step": call(
        prepare=lambda key, batch: batch,
        loss=lambda params, batch: (batch["x"], {}),
        parallel="jit",
        accumulate=1,
    ),
    "tuning.distances": call(
        ts=Data(_TS),
        noise=Data(_X, alias="end"),
        end=Data(0.5 * _X),
    ),
    "tuning.fine_pairs": call(
        like=Data(_X, "nan: only its shape and dtype are read; shape: any that the denoiser takes", alias="x_t"),
        batches=1,
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
    "tuning.load_grid": call(_with_file(lambda valid, path: tuning.load_grid(path or valid).ts), path=Choice("")),
    "tuning.restore_solver": call(
        _with_file(lambda path, solver: tuning.restore_solver(tuning.load_grid(path), solver, FLOW)),
        solver=Choice(solvers.Euler()),
    ),
    "io.Loaded": call(lambda num: io.Loaded(_MLP, _WEIGHTS, preconditioning.ve(), (2,)).prior(KEY, num), num=Count(2)),
    "io.preconditioning.ddpm": _preconditioning("ddpm", betas=Choice("linear", alias="name"), target=Choice("eps")),
    "io.preconditioning.vp": _preconditioning("vp", beta_min=Number(0.1, low=0.0), beta_max=Number(20.0, low=0.05)),
    "io.preconditioning.ve": _preconditioning("ve", sigma_min=Number(0.02, low=0.0), sigma_max=Number(100.0, low=0.01)),
    "io.preconditioning.edm": _preconditioning(
        "edm", sigma_min=Number(0.02, low=-0.1), sigma_max=Number(80.0, low=0.01)
    ),
}
