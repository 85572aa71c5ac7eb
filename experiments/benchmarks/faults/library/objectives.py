"""Denoisers and losses."""

# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Classes, Data, Shaped, Time, call
from scorekit import denoisers, losses, schedules
from scorekit.densities import gaussian
from scorekit.times import Times

_FLOW = schedules.rectified_flow()
_KEY = jax.random.key(0)
_X = np.ones((2, 3), np.float32)
_T = Data(np.array([0.25, 0.5], np.float32), {"integer": "0 and 1 are times"})
_EMPTY = {"empty": "an empty batch gives an empty batch"}
_STATE = Data(_X, {"shape": "the network takes any shape"}, alias="t")
_TIMES = Times(np.array([0.25, 0.5], np.float32), np.ones(2, np.float32))
_DRAWN = Data(_TIMES, {"integer": "0 and 1 are times"}, alias="t")
_LABELS = Classes(np.array([0, 2]), num_classes=3)


def _quadratic(x, t):
    return -0.5 * jnp.sum(jnp.square(x), axis=-1)


def _zero(x, t):
    return 0.0 * x


ROWS: dict[str, Call] = {
    "denoisers.denoiser_from_network": call(
        lambda output, x_t, t, target: denoisers.denoiser_from_network(lambda x, t: output, _FLOW, target)(x_t, t),
        output=Shaped(_X),
        x_t=Data(_X, alias="t"),
        t=_T,
        target="v",
    ),
    "denoisers.denoiser_from_score": call(
        lambda score, x_t, t: denoisers.denoiser_from_score(lambda x, t: score, _FLOW)(x_t, t),
        score=Shaped(_X),
        x_t=Data(_X, alias="t"),
        t=_T,
    ),
    "denoisers.score_from_log_density": call(
        lambda x: denoisers.score_from_log_density(_quadratic)(x, 0.5),
        x=Data(_X, {**_EMPTY, "shape": "the density takes any shape"}),
    ),
    "denoisers.denoiser_from_log_density": call(
        lambda x_t, t: denoisers.denoiser_from_log_density(_quadratic, _FLOW)(x_t, t),
        x_t=_STATE,
        t=_T,
    ),
    "denoisers.exact_denoiser": call(
        lambda x_t, t: denoisers.exact_denoiser(gaussian(np.zeros(3), std=1.0), _FLOW)(x_t, t),
        x_t=Data(_X, alias="t"),
        t=_T,
    ),
    "denoisers.exact_denoiser/density": call(
        denoisers.exact_denoiser, density=Choice(gaussian(np.zeros(3), std=1.0)), schedule=_FLOW
    ),
    "denoisers.condition_on_log_snr": call(denoisers.condition_on_log_snr, network=_zero, schedule=_FLOW, scale=0.25),
    "denoisers.scale_input": call(
        lambda sigma_data, x, t: denoisers.scale_input(_zero, _FLOW, sigma_data)(x, t),
        sigma_data=0.5,
        x=_STATE,
        t=_T,
    ),
    "losses.denoising_loss": call(
        lambda x0, target: losses.denoising_loss(_KEY, _zero, _FLOW, x0, target=target),
        x0=Data(_X, {"shape": "any shape of the examples"}),
        target="v",
    ),
    "losses.denoising_loss_at": call(
        lambda output, x0, eps, times: losses.denoising_loss_at(lambda x, t: output, _FLOW, x0, eps, times),
        output=Data(_X, {"integer": "becomes float32"}),
        x0=Data(_X),
        eps=Data(_X),
        times=_DRAWN,
    ),
    "losses.denoising_loss_at/times": call(
        lambda t: losses.denoising_loss_at(_zero, _FLOW, _X, _X, Times(t, _TIMES.weight)),
        t=Time(_TIMES.t),
    ),
    "losses.denoising_loss_at/weights": call(
        lambda weight: losses.denoising_loss_at(_zero, _FLOW, _X, _X, Times(_TIMES.t, weight)),
        weight=Data(_TIMES.weight, {"integer": "becomes float32"}),
    ),
    "losses.classification_loss": call(
        lambda x0, labels: losses.classification_loss(_KEY, _zero, _FLOW, x0, labels),
        x0=Data(_X, alias="classifier"),
        labels=_LABELS,
    ),
    "losses.classification_loss_at": call(
        lambda logits, x0, eps, times, labels: losses.classification_loss_at(
            lambda x, t: logits + 0.0 * jnp.sum(x), _FLOW, x0, eps, times, labels
        ),
        logits=Data(_X, {"integer": "becomes float32"}),
        x0=Data(_X),
        eps=Data(_X),
        times=_DRAWN,
        labels=_LABELS,
    ),
    "losses.bin_by_noise_level": call(
        losses.bin_by_noise_level,
        values=Data(np.ones(2, np.float32), {"integer": "becomes float32"}),
        log_snr=Data(np.ones(2, np.float32), {"integer": "becomes float32"}),
        edges=Data(np.arange(3, dtype=np.float32)),
    ),
    "losses.uncertainty_weighted": call(
        losses.uncertainty_weighted,
        loss=Data(np.ones(2, np.float32), {"integer": "becomes float32"}),
        log_variance=Data(np.ones(2, np.float32), {"integer": "becomes float32"}),
    ),
}

EXEMPT = {f"losses.{name}": "a result" for name in ("Binned", "LossAux", "ClassificationAux")}
