"""Tuned samplers."""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Data, call
from scorekit import denoisers, densities, schedules, solvers, tuning

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


ROWS: dict[str, Call] = {
    "tuning.distances": call(
        lambda **kwargs: tuning.distances(_DENOISER, _SCHEDULE, solvers.Euler(), **kwargs),
        ts=Data(_TS),
        noise=Data(_X, alias="end"),
        end=Data(0.5 * _X),
    ),
    "tuning.fine_pairs": call(
        lambda **kwargs: tuning.fine_pairs(_KEY, _DENOISER, _SCHEDULE, **kwargs).end,
        like=Data(
            _X, {"nan": "only its shape and dtype are read", "shape": "any that the denoiser takes"}, alias="x_t"
        ),
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
}

EXEMPT = {
    "tuning.Pairs": "a pair of arrays that tune checks",
    "tuning.SavedGrid": "a result of load_grid",
    "tuning.Trial": "a result",
    "tuning.Tuned": "a result",
}
