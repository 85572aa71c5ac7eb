"""Trees, schedules, times, weightings, targets and the forward process; denoisers, losses, couplings and bridges."""

import jax.numpy as jnp
import numpy as np

from scorekit import densities, interpolants, losses, times, trees, weightings
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import COSINE, EACH, ENDS, FLOATS, FLOW, OUTPUT, SAME, TS, T, X, constant, floats, zero
from valid_calls.kinds import Choice, Classes, Data, Number, Shaped, Time, call

_THREE = floats(0.25, 0.5, 0.75)
_ANY = "shape, empty, integer"
_PAIR = Data(Prediction(X, X), "empty, shape")
_NORMAL = densities.gaussian(np.zeros(3), std=1.0)
_UNIT = np.eye(2, 3, dtype=np.float32)
_OTHER_UNIT = Data(_UNIT[::-1].copy())
_STATE = Data(X, "shape", alias="t")


def _quadratic(x, t=0.0):
    return -0.5 * jnp.sum(jnp.square(x), axis=-1)


USUAL = {
    "trees weightings predictions process schedules times": {
        "log_snr": Data(floats(-1.0, 1.0), _ANY),
        "tree": Data({"x": X, "b": EACH}, "shape, empty, integer; nan: only shapes are read"),
        **dict.fromkeys(("coefficient", "power"), FLOATS),
        "leaf": X,
        "fn": jnp.square,
        "base": FLOW,
    },
    "denoisers losses interpolants": {
        "t": Data(T, ENDS),
        "x_t": SAME,
        "times": Data(Times(T, EACH), ENDS, alias="t"),
        "labels": Classes(np.array([0, 2]), num_classes=3),
        **dict.fromkeys(("loss", "log_variance"), FLOATS),
        "density": _NORMAL,
        **dict.fromkeys(("pictures", "captions", "after"), Data(_UNIT)),
        **dict.fromkeys(("before", "end"), _OTHER_UNIT),
    },
}
ROWS = {
    "trees.batch_size/shapes": call(
        lambda x: trees.batch_size({"x": x, "y": EACH}),
        x=Data(X, "empty; shape: only shapes are read; integer: only shapes are read; nan: only shapes are read"),
    ),
    "trees.combine": call(
        lambda coefficient, x, y: trees.combine((coefficient, x), (1.0, y)),
        x=Data(X, alias="terms"),
        y=Shaped(X, alias="terms"),
    ),
    "trees.where": call(condition=np.array([True, False]), on_true=Data(X, "integer"), on_false=Shaped(X)),
    "trees.normal_like": call(tree=Data(X, "shape, empty; nan: any")),
    "trees.sum_per_example": call(tree=Data(X, _ANY)),
    **dict.fromkeys(["weightings.band", "times.band"], call(count=FLOATS)),
    "weightings.per_log_snr": call(weighting=weightings.eps),
    "predictions.bounded_log_snr": call(t=Data(T, _ANY)),
    "predictions.seen_log_snr": call(log_snr=Data(T, _ANY)),
    "predictions.as_target": call(target=Choice("v")),
    "predictions.convert": call(output=Shaped(X), x_t=Data(X, "empty"), source=Choice("v"), target=Choice("x0")),
    "predictions.with_x0": call(prediction=Shaped(Prediction(X, X)), x0=Data(X, "empty"), t=Data(T, ENDS)),
    **dict.fromkeys([f"process.{name}" for name in ("drift", "diffusion_squared")], call(t=Time(T, "axes, longer"))),
    **dict.fromkeys(["process.transition", "process.posterior"], call(t=Time(0.5, "axes"), s=Time(0.25, "axes"))),
    "process.sample_prior": call(like=Data(X, "shape, empty; nan: only its shape and dtype are read"), t=Time(0.5)),
    "process.score": call(prediction=_PAIR, t=Time(0.5)),
    "schedules.edm": call(sigma_max=Number(80.0, low=0.002)),
    "schedules.from_betas": call(betas=Data(np.full(3, 0.1))),
    "schedules.geometric_ve": call(sigma_max=Number(50.0, low=0.01)),
    "schedules.learned": call(num_knots=2, log_snr_max=Number(13.3, low=-5.0)),
    **dict.fromkeys(["schedules.linear_vp", "schedules.sub_vp"], call(beta_max=Number(20.0, low=0.05))),
    "schedules.schedule_from_functions": call(
        alpha=Shaped(np.linspace(0.9, 0.1, 33), of=constant),
        sigma=Shaped(np.linspace(0.1, 0.9, 33), of=constant),
        log_snr=Data(np.linspace(5.0, -5.0, 33), of=constant),
    ),
    "schedules.sigmoid": call(end=Number(3.0, low=-3.0)),
    "schedules.time_derivative": call(t=Data(_THREE, _ANY)),
    "schedules.zero_terminal_snr": call(base=COSINE),
    "times.at_progress": call(
        lambda progress: times.at_progress(times.annealed(0.8, 0.2), progress).quantile(jnp.asarray(_THREE), FLOW),
        progress=Time(np.zeros(3)),
    ),
    "times.discrete": call(ts=Data(_THREE, ENDS), weights=Data(floats(1.0, 1.0, 1.0), "integer")),
    "times.draw": call(sampler=times.uniform()),
    "times.update_adaptive": call(
        sampler=times.adaptive(num_bins=3),
        t=Time(_THREE, "nan: a time that is not finite is ignored"),
        loss=Data(floats(1.0, 1.0, 1.0), "integer; nan: a loss that is not finite is ignored"),
    ),
    "denoisers.denoiser_from_network": call(network=OUTPUT),
    "denoisers.denoiser_from_score": call(score=Shaped(X, of=constant)),
    "denoisers.score_from_log_density": call(
        then="x t", log_density=_quadratic, x=Data(X, "empty; shape: the density takes any shape"), t=0.5
    ),
    "denoisers.denoiser_from_log_density": call(log_density=_quadratic, x_t=_STATE),
    "denoisers.exact_denoiser/density": call(then="", density=Choice(_NORMAL)),
    "denoisers.condition_on_log_snr": call(scale=0.25),
    "denoisers.scale_input": call(then="x t", sigma_data=0.5, x=_STATE),
    "losses.denoising_loss": call(x0=Data(X, "shape"), target="v"),
    "losses.denoising_loss_at": call(network=Data(X, "integer", alias="output", of=constant)),
    "losses.denoising_loss_at/times": call(
        lambda t: losses.denoising_loss_at(zero, FLOW, X, X, Times(t, EACH)), t=Time(T)
    ),
    "losses.denoising_loss_at/weights": call(
        lambda weight: losses.denoising_loss_at(zero, FLOW, X, X, Times(T, weight)), weight=FLOATS
    ),
    "losses.classification_loss": call(classifier=zero, x0=Data(X, alias="classifier")),
    "losses.classification_loss_at": call(
        classifier=Data(X, "integer", alias="logits", of=lambda logits: lambda x, t: logits + 0.0 * jnp.sum(x))
    ),
    "losses.bin_by_noise_level": call(values=FLOATS, log_snr=FLOATS, edges=Data(floats(0.0, 1.0, 2.0))),
    "losses.contrastive.contrastive_loss": call(
        subjects=Classes(np.array([0, 1]), "negative, too large", num_classes=2)
    ),
    "losses.contrastive.slerp": call(start=Data(_UNIT, alias="end")),
    "losses.contrastive.text_difference": call(picture=Data(_UNIT, alias="before")),
    "losses.contrastive.closest": call(
        candidates=Data(np.ones((2, 4, 3), np.float32)), target=Data(_UNIT, alias="candidates")
    ),
    **dict.fromkeys(
        ["losses.score_matching.implicit_loss", "losses.score_matching.sliced_loss"],
        call(score=lambda x: -x, x=Data(X, "shape")),
    ),
    **dict.fromkeys(
        [f"losses.score_matching.finite_difference_{name}" for name in ("loss", "denoising_loss")],
        call(log_density=_quadratic, x=Data(X, alias="log_density"), step=0.1),
    ),
    "losses.score_matching.contractive_loss": call(reconstruct=lambda x: 0.5 * x, x=Data(X, "shape")),
    "interpolants.couplings.pair": call(
        assign=lambda cost: jnp.argsort(cost[0]),
        x0=Data(X, "nan: the data of that pair stay NaN"),
        eps=Data(X, "nan: the noise stays what it is"),
        labels=Classes(np.array([0, 1]), "negative, too large", num_classes=2),
        block_size=2,
    ),
    "interpolants.couplings.straightness": call(
        states=Data(np.ones((3, 2, 1), np.float32), "shape"), ts=Data(TS, "integer: must decrease")
    ),
    "interpolants.bridge_noise": call(t=Time(T), schedule=interpolants.brownian_schedule()),
}
