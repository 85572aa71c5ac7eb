"""Couplings of data and noise, stochastic interpolants and bridges."""

# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Classes, Data, Shaped, Time, call
from scorekit import densities, interpolants, training
from scorekit.interpolants import couplings
from scorekit.times import Times

_X = np.ones((2, 3), np.float32)
_T = np.array([0.25, 0.5], np.float32)
_KEY = jax.random.key(0)
_SCALES = interpolants.linear(0.5)
_SCHEDULE = interpolants.brownian_schedule()
_ENDS = {"x0": Data(_X), "x1": Data(_X), "z": Data(_X)}
_STATE = Data(_X, alias="t")
_DRAWN = Data(Times(_T, np.ones(2, np.float32)), {"integer": "0 and 1 are times"}, alias="t")


def _inner(x, t):
    return 0.0 * x + jnp.sum(0.0 * t), x


def _greedy(cost):
    return jnp.argsort(cost[0])


ROWS: dict[str, Call] = {
    "interpolants.couplings.squared_distances": call(couplings.squared_distances, x0=Data(_X), eps=Data(_X)),
    "interpolants.couplings.pair": call(
        lambda x0, eps, labels, block_size: couplings.pair(x0, eps, _greedy, labels, block_size=block_size),
        x0=Data(_X, {"nan": "the data of that pair stay NaN"}),
        eps=Data(_X, {"nan": "the noise stays what it is"}),
        labels=Classes(np.array([0, 1]), {"negative": "any integer", "too large": "any integer"}, num_classes=2),
        block_size=2,
    ),
    "interpolants.couplings.straightness": call(
        couplings.straightness,
        states=Data(np.ones((3, 2, 1), np.float32), {"shape": "any shape"}),
        ts=Data(np.array([1.0, 0.5, 0.0], np.float32), {"integer": "must decrease"}),
    ),
    "training.optimal_assignment": call(training.optimal_assignment, cost=Data(np.eye(2, dtype=np.float32))),
    "interpolants.bridge_noise": call(interpolants.bridge_noise, **_ENDS, t=Time(_T), schedule=_SCHEDULE),
    "interpolants.interpolate": call(interpolants.interpolate, **_ENDS, t=Time(_T), interpolant=_SCALES),
    "interpolants.velocity": call(interpolants.velocity, **_ENDS, t=Time(_T), interpolant=_SCALES),
    "interpolants.score": call(interpolants.score, z=Data(_X, {"shape": "any shape"}), t=Time(_T), interpolant=_SCALES),
    "interpolants.interpolant_loss": call(
        lambda x0, x1, target: interpolants.interpolant_loss(
            _KEY, _inner if target == "ends" else lambda x, t: x, _SCALES, x0, x1, target=target
        ),
        x0=Data(_X, {"shape": "any shape"}),
        x1=Data(_X),
        target="ends",
    ),
    "interpolants.interpolant_loss_at": call(
        lambda x0, x1, z, times, target: interpolants.interpolant_loss_at(
            _inner if target == "ends" else lambda x, t: x, _SCALES, x0, x1, z, times, target=target
        ),
        x0=Data(_X),
        x1=Data(_X),
        z=Data(_X),
        times=_DRAWN,
        target="ends",
    ),
    "interpolants.ends_denoiser": call(
        lambda x0, x1: interpolants.ends_denoiser(lambda x, t: (x0, x1), _SCALES)(_X, 0.5),
        x0=Shaped(_X),
        x1=Shaped(_X),
    ),
    "interpolants.paired_denoiser": call(
        lambda x0, x1: interpolants.paired_denoiser(lambda x, t: x0, _SCALES, x1)(_X, 0.5),
        x0=Shaped(_X),
        x1=Data(_X),
    ),
    "interpolants.velocity_denoiser": call(
        lambda x0: interpolants.velocity_denoiser(interpolants.ends_denoiser(lambda x, t: (x0, x), _SCALES), _SCALES)(
            _X, 0.5
        ),
        x0=Shaped(_X),
    ),
    "interpolants.exact_ends": call(
        lambda x_t, t: interpolants.exact_ends(densities.gaussian(np.zeros(6), std=1.0), _SCALES)(x_t, t),
        x_t=_STATE,
        t=Time(_T),
    ),
}
EXEMPT = {
    "interpolants.Ends": "a result of the denoisers",
    "interpolants.Interpolant": "a protocol",
}
