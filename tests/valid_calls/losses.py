"""Denoisers and losses. Couplings of data and noise, stochastic interpolants and bridges."""

import jax.numpy as jnp
import numpy as np

from scorekit import densities, interpolants, losses
from scorekit.times import Times
from valid_calls.common import ENDS, FLOW, KEY, OUTPUT, SAME, X, constant
from valid_calls.kinds import Choice, Classes, Data, Shaped, Time, call

_T, _ONES = np.array([0.25, 0.5], np.float32), Data(np.ones(2, np.float32), "integer")
_SCALES = interpolants.linear(0.5)
_UNIT = np.eye(2, 3, dtype=np.float32)
_OTHER_UNIT = Data(_UNIT[::-1].copy())
_TIME, _STATE = Time(_T), Data(X, "shape", alias="t")


def _zero(x, t):
    return 0.0 * x


def _quadratic(x, t):
    return -0.5 * jnp.sum(jnp.square(x), axis=-1)


def _network(target):
    """A network with the outputs of a target of an interpolant."""
    return (lambda x, t: (0.0 * x + jnp.sum(0.0 * t), x)) if target == "ends" else lambda x, t: x


USUAL = {
    **dict.fromkeys(("x0", "x1", "z", "eps"), Data(X)),
    "t": Data(_T, ENDS),
    "schedule": FLOW,
    "x_t": SAME,
    "interpolant": _SCALES,
    "target": "v",
    "network": _zero,
    "key": KEY,
    "times": Data(Times(_T, np.ones(2, np.float32)), ENDS, alias="t"),
    "labels": Classes(np.array([0, 2]), num_classes=3),
}
ROWS = {
    "denoisers.denoiser_from_network": call(then="x_t t", network=OUTPUT, target="v"),
    "denoisers.denoiser_from_score": call(then="x_t t", score=Shaped(X, of=constant)),
    "denoisers.score_from_log_density": call(
        then="x t", log_density=_quadratic, x=Data(X, "empty; shape: the density takes any shape"), t=0.5
    ),
    "denoisers.denoiser_from_log_density": call(then="x_t t", log_density=_quadratic, x_t=_STATE),
    "denoisers.exact_denoiser": call(then="x_t t", density=densities.gaussian(np.zeros(3), std=1.0)),
    "denoisers.exact_denoiser/density": call(density=Choice(densities.gaussian(np.zeros(3), std=1.0))),
    "denoisers.condition_on_log_snr": call(scale=0.25),
    "denoisers.scale_input": call(then="x t", sigma_data=0.5, x=_STATE),
    "losses.denoising_loss": call(x0=Data(X, "shape"), target="v"),
    "losses.denoising_loss_at": call(network=Data(X, "integer", alias="output", of=constant)),
    "losses.denoising_loss_at/times": call(
        lambda t: losses.denoising_loss_at(_zero, FLOW, X, X, Times(t, _ONES.value)), t=_TIME
    ),
    "losses.denoising_loss_at/weights": call(
        lambda weight: losses.denoising_loss_at(_zero, FLOW, X, X, Times(_T, weight)), weight=_ONES
    ),
    "losses.classification_loss": call(classifier=_zero, x0=Data(X, alias="classifier")),
    "losses.classification_loss_at": call(
        classifier=Data(X, "integer", alias="logits", of=lambda logits: lambda x, t: logits + 0.0 * jnp.sum(x))
    ),
    "losses.bin_by_noise_level": call(values=_ONES, log_snr=_ONES, edges=Data(np.arange(3, dtype=np.float32))),
    "losses.uncertainty_weighted": call(loss=_ONES, log_variance=_ONES),
    "interpolants.couplings.squared_distances": call(),
    "interpolants.couplings.pair": call(
        assign=lambda cost: jnp.argsort(cost[0]),
        x0=Data(X, "nan: the data of that pair stay NaN"),
        eps=Data(X, "nan: the noise stays what it is"),
        labels=Classes(np.array([0, 1]), "negative, too large", num_classes=2),
        block_size=2,
    ),
    "interpolants.couplings.straightness": call(
        states=Data(np.ones((3, 2, 1), np.float32), "shape"),
        ts=Data(np.array([1.0, 0.5, 0.0], np.float32), "integer: must decrease"),
    ),
    "losses.contrastive.contrastive_loss": call(
        pictures=Data(_UNIT),
        captions=Data(_UNIT),
        log_temperature=0.0,
        subjects=Classes(np.array([0, 1]), "negative, too large", num_classes=2),
    ),
    "losses.contrastive.slerp": call(start=Data(_UNIT, alias="end"), end=_OTHER_UNIT, weight=0.5),
    "losses.contrastive.text_difference": call(
        picture=Data(_UNIT, alias="before"), before=_OTHER_UNIT, after=Data(_UNIT), weight=0.5
    ),
    "losses.contrastive.closest": call(
        candidates=Data(np.ones((2, 4, 3), np.float32)), target=Data(_UNIT, alias="candidates")
    ),
    "training.optimal_assignment": call(cost=Data(np.eye(2, dtype=np.float32))),
    "interpolants.bridge_noise": call(x0=Data(X), x1=Data(X), t=_TIME, schedule=interpolants.brownian_schedule()),
    "interpolants.interpolate": call(z=Data(X), t=_TIME),
    "interpolants.velocity": call(z=Data(X), t=_TIME),
    "interpolants.score": call(z=Data(X, "shape"), t=_TIME),
    "interpolants.interpolant_loss": call(
        lambda x0, x1, target: interpolants.interpolant_loss(KEY, _network(target), _SCALES, x0, x1, target=target),
        x0=Data(X, "shape"),
        target="ends",
    ),
    "interpolants.interpolant_loss_at": call(
        lambda x0, x1, z, times, target: interpolants.interpolant_loss_at(
            _network(target), _SCALES, x0, x1, z, times, target=target
        ),
        target="ends",
    ),
    "interpolants.ends_denoiser": call(
        lambda x0, x1: interpolants.ends_denoiser(constant((x0, x1)), _SCALES)(X, 0.5), x0=Shaped(X), x1=Shaped(X)
    ),
    "interpolants.paired_denoiser": call(
        lambda x0, x1: interpolants.paired_denoiser(constant(x0), _SCALES, x1)(X, 0.5), x0=Shaped(X)
    ),
    "interpolants.velocity_denoiser": call(
        lambda x0: interpolants.velocity_denoiser(interpolants.ends_denoiser(lambda x, t: (x0, x), _SCALES), _SCALES)(
            X, 0.5
        ),
        x0=Shaped(X),
    ),
    "interpolants.exact_ends": call(then="x_t t", joint=densities.gaussian(np.zeros(6), std=1.0), t=_TIME),
}
