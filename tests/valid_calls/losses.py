"""Denoisers and losses. Couplings of data and noise, stochastic interpolants and bridges."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, interpolants, losses, schedules
from scorekit.densities import gaussian
from scorekit.times import Times
from valid_calls.kinds import Choice, Classes, Data, Shaped, Time, call

_FLOW = schedules.rectified_flow()
_KEY = jax.random.key(0)
_X = np.ones((2, 3), np.float32)
_T = Data(np.array([0.25, 0.5], np.float32), "integer: 0 and 1 are times")
_STATE = Data(_X, "shape", alias="t")
_TIMES = Times(np.array([0.25, 0.5], np.float32), np.ones(2, np.float32))
_DRAWN = Data(_TIMES, "integer: 0 and 1 are times", alias="t")
_LABELS = Classes(np.array([0, 2]), num_classes=3)


def _quadratic(x, t):
    return -0.5 * jnp.sum(jnp.square(x), axis=-1)


def _zero(x, t):
    return 0.0 * x


_T_INTERPOLANTS = np.array([0.25, 0.5], np.float32)
_SCALES = interpolants.linear(0.5)
_SCHEDULE = interpolants.brownian_schedule()
_ENDS = {"x0": Data(_X), "x1": Data(_X), "z": Data(_X)}
_STATE_INTERPOLANTS = Data(_X, alias="t")
_DRAWN_INTERPOLANTS = Data(Times(_T_INTERPOLANTS, np.ones(2, np.float32)), "integer: 0 and 1 are times", alias="t")


def _inner(x, t):
    return (0.0 * x + jnp.sum(0.0 * t), x)


def _greedy(cost):
    return jnp.argsort(cost[0])


USUAL = {
    "t": _T,
    "schedule": _FLOW,
    "x0": Data(_X),
    "x_t": Data(_X, alias="t"),
    "eps": Data(_X),
    "interpolant": _SCALES,
    "x1": Data(_X),
    "target": "v",
    "network": _zero,
    "key": _KEY,
    "times": _DRAWN,
    "labels": _LABELS,
}
ROWS = {
    "denoisers.denoiser_from_network": call(
        lambda output, x_t, t, target: denoisers.denoiser_from_network(lambda x, t: output, _FLOW, target)(x_t, t),
        output=Shaped(_X),
    ),
    "denoisers.denoiser_from_score": call(
        lambda score, x_t, t: denoisers.denoiser_from_score(lambda x, t: score, _FLOW)(x_t, t), score=Shaped(_X)
    ),
    "denoisers.score_from_log_density": call(
        lambda x: denoisers.score_from_log_density(_quadratic)(x, 0.5),
        x=Data(_X, "empty; shape: the density takes any shape"),
    ),
    "denoisers.denoiser_from_log_density": call(
        lambda x_t, t: denoisers.denoiser_from_log_density(_quadratic, _FLOW)(x_t, t), x_t=_STATE
    ),
    "denoisers.exact_denoiser": call(
        lambda x_t, t: denoisers.exact_denoiser(gaussian(np.zeros(3), std=1.0), _FLOW)(x_t, t)
    ),
    "denoisers.exact_denoiser/density": call(density=Choice(gaussian(np.zeros(3), std=1.0))),
    "denoisers.condition_on_log_snr": call(scale=0.25),
    "denoisers.scale_input": call(
        lambda sigma_data, x, t: denoisers.scale_input(_zero, _FLOW, sigma_data)(x, t), sigma_data=0.5, x=_STATE
    ),
    "losses.denoising_loss": call(x0=Data(_X, "shape"), target="v"),
    "losses.denoising_loss_at": call(
        lambda output, x0, eps, times: losses.denoising_loss_at(lambda x, t: output, _FLOW, x0, eps, times),
        output=Data(_X, "integer"),
    ),
    "losses.denoising_loss_at/times": call(
        lambda t: losses.denoising_loss_at(_zero, _FLOW, _X, _X, Times(t, _TIMES.weight)), t=Time(_TIMES.t)
    ),
    "losses.denoising_loss_at/weights": call(
        lambda weight: losses.denoising_loss_at(_zero, _FLOW, _X, _X, Times(_TIMES.t, weight)),
        weight=Data(_TIMES.weight, "integer"),
    ),
    "losses.classification_loss": call(classifier=_zero, x0=Data(_X, alias="classifier")),
    "losses.classification_loss_at": call(
        lambda logits, x0, eps, times, labels: losses.classification_loss_at(
            lambda x, t: logits + 0.0 * jnp.sum(x), _FLOW, x0, eps, times, labels
        ),
        logits=Data(_X, "integer"),
    ),
    "losses.bin_by_noise_level": call(
        values=Data(np.ones(2, np.float32), "integer"),
        log_snr=Data(np.ones(2, np.float32), "integer"),
        edges=Data(np.arange(3, dtype=np.float32)),
    ),
    "losses.uncertainty_weighted": call(
        loss=Data(np.ones(2, np.float32), "integer"), log_variance=Data(np.ones(2, np.float32), "integer")
    ),
    "interpolants.couplings.squared_distances": call(),
    "interpolants.couplings.pair": call(
        assign=_greedy,
        x0=Data(_X, "nan: the data of that pair stay NaN"),
        eps=Data(_X, "nan: the noise stays what it is"),
        labels=Classes(np.array([0, 1]), "negative, too large", num_classes=2),
        block_size=2,
    ),
    "interpolants.couplings.straightness": call(
        states=Data(np.ones((3, 2, 1), np.float32), "shape"),
        ts=Data(np.array([1.0, 0.5, 0.0], np.float32), "integer: must decrease"),
    ),
    "training.optimal_assignment": call(cost=Data(np.eye(2, dtype=np.float32))),
    "interpolants.bridge_noise": call(**_ENDS, t=Time(_T_INTERPOLANTS), schedule=_SCHEDULE),
    "interpolants.interpolate": call(**_ENDS, t=Time(_T_INTERPOLANTS)),
    "interpolants.velocity": call(**_ENDS, t=Time(_T_INTERPOLANTS)),
    "interpolants.score": call(z=Data(_X, "shape"), t=Time(_T_INTERPOLANTS)),
    "interpolants.interpolant_loss": call(
        lambda x0, x1, target: interpolants.interpolant_loss(
            _KEY, _inner if target == "ends" else lambda x, t: x, _SCALES, x0, x1, target=target
        ),
        x0=Data(_X, "shape"),
        target="ends",
    ),
    "interpolants.interpolant_loss_at": call(
        lambda x0, x1, z, times, target: interpolants.interpolant_loss_at(
            _inner if target == "ends" else lambda x, t: x, _SCALES, x0, x1, z, times, target=target
        ),
        z=Data(_X),
        times=_DRAWN_INTERPOLANTS,
        target="ends",
    ),
    "interpolants.ends_denoiser": call(
        lambda x0, x1: interpolants.ends_denoiser(lambda x, t: (x0, x1), _SCALES)(_X, 0.5), x0=Shaped(_X), x1=Shaped(_X)
    ),
    "interpolants.paired_denoiser": call(
        lambda x0, x1: interpolants.paired_denoiser(lambda x, t: x0, _SCALES, x1)(_X, 0.5), x0=Shaped(_X)
    ),
    "interpolants.velocity_denoiser": call(
        lambda x0: interpolants.velocity_denoiser(interpolants.ends_denoiser(lambda x, t: (x0, x), _SCALES), _SCALES)(
            _X, 0.5
        ),
        x0=Shaped(_X),
    ),
    "interpolants.exact_ends": call(
        lambda x_t, t: interpolants.exact_ends(densities.gaussian(np.zeros(6), std=1.0), _SCALES)(x_t, t),
        x_t=_STATE_INTERPOLANTS,
        t=Time(_T_INTERPOLANTS),
    ),
}
