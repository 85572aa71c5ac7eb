"""Trees, schedules, times, weightings, targets and the forward process; denoisers, losses, couplings and bridges."""

import jax.numpy as jnp
import numpy as np

from scorekit import densities, losses, trees
from scorekit.times import Times
from valid_calls.common import EACH, ENDS, FLOATS, FLOW, SAME, T, X, constant, floats, zero
from valid_calls.kinds import Classes, Data, Shaped, Time, call

_ANY = "shape, empty, integer"
_NORMAL = densities.gaussian(np.zeros(3), std=1.0)
_UNIT = np.eye(2, 3, dtype=np.float32)
_STATE = Data(X, "shape", alias="t")


def _quadratic(x, t=0.0):
    return -0.5 * jnp.sum(jnp.square(x), axis=-1)


USUAL = {
    "trees weightings predictions process schedules times": {
        "log_snr": Data(floats(-1.0, 1.0), _ANY),
        "coefficient": FLOATS,
    },
    "denoisers losses interpolants": {
        "t": Data(T, ENDS),
        "x_t": SAME,
        "times": Data(Times(T, EACH), ENDS, alias="t"),
        "labels": Classes(np.array([0, 2]), num_classes=3),
        **dict.fromkeys(("loss", "log_variance"), FLOATS),
        "density": _NORMAL,
        **dict.fromkeys(("pictures", "captions"), Data(_UNIT)),
    },
}
_BY_USUAL = """
    denoisers.exact_denoiser interpolants.couplings.squared_distances losses.uncertainty_weighted
    process.perturb weightings.edm weightings.min_snr weightings.sigmoid
"""
ROWS = {
    **dict.fromkeys(_BY_USUAL.split(), call()),
    "trees.combine": call(
        lambda coefficient, x, y: trees.combine((coefficient, x), (1.0, y)),
        x=Data(X, alias="terms"),
        y=Shaped(X, alias="terms"),
    ),
    "trees.where": call(condition=np.array([True, False]), on_true=Data(X, "integer"), on_false=Shaped(X)),
    "predictions.convert": call(output=Shaped(X), x_t=Data(X, "empty"), source="v", target="x0"),
    **dict.fromkeys(["process.transition", "process.posterior"], call(t=Time(0.5, "axes"), s=Time(0.25, "axes"))),
    "schedules.from_betas": call(betas=Data(np.full(3, 0.1))),
    "denoisers.denoiser_from_score": call(score=Shaped(X, of=constant)),
    "denoisers.denoiser_from_log_density": call(log_density=_quadratic, x_t=_STATE),
    "losses.denoising_loss_at": call(network=Data(X, "integer", alias="output", of=constant)),
    "losses.denoising_loss_at/times": call(
        lambda t: losses.denoising_loss_at(zero, FLOW, X, X, Times(t, EACH)), t=Time(T)
    ),
    "losses.denoising_loss_at/weights": call(
        lambda weight: losses.denoising_loss_at(zero, FLOW, X, X, Times(T, weight)), weight=FLOATS
    ),
    "losses.classification_loss_at": call(
        classifier=Data(X, "integer", alias="logits", of=lambda logits: lambda x, t: logits + 0.0 * jnp.sum(x))
    ),
    "losses.bin_by_noise_level": call(values=FLOATS, log_snr=FLOATS, edges=Data(floats(0.0, 1.0, 2.0))),
    "losses.contrastive.contrastive_loss": call(
        subjects=Classes(np.array([0, 1]), "negative, too large", num_classes=2)
    ),
    "interpolants.couplings.pair": call(
        assign=lambda cost: jnp.argsort(cost[0]),
        x0=Data(X, "nan: the data of that pair stay NaN"),
        eps=Data(X, "nan: the noise stays what it is"),
        labels=Classes(np.array([0, 1]), "negative, too large", num_classes=2),
        block_size=2,
    ),
}
