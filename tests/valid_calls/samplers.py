"""Solvers and time grids, samplers, likelihoods and variational bounds; flow maps, distillation and bridges."""

import jax.numpy as jnp
import numpy as np

from scorekit import schedules, solvers
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import COSINE, EACH, ENDS, OUTPUT, PREDICTION, SAME, TS, X, denoiser, fixed, floats
from valid_calls.kinds import Classes, Data, Shaped, Time, call

_SCHEDULE, _ANCESTRAL, _TS = schedules.LinearVP(), solvers.Ancestral(), floats(1.0, 0.5, 0.1)
_STATE = Data(X, "shape")
_GIVEN_X = floats([1.0, -1.0])
_RANGE = {"t_min": 0.01, "t_max": 0.9}
_T, _S, _MIDDLE = floats(0.5, 0.75), floats(0.125, 0.25), floats(0.3125, 0.5)
_NETWORK_T = Data(_T, ENDS)


def _denoiser(x, t):
    """Runs on anything."""
    return Prediction(0.5 * x, x)


USUAL = {
    "solvers samplers likelihood": {
        "ts": Data(_TS, "integer: only [1, 0] could be meant, and ones do not decrease"),
        **dict.fromkeys(("denoiser", "source", "destination"), _denoiser),
        "schedule": _SCHEDULE,
        "solver": solvers.Euler(),
        "x": _STATE,
        "x0": Data(_GIVEN_X, alias="x_t"),
        "log_weights": Data(np.log(floats(0.5, 0.25, 0.25)), "integer"),
    },
    "flow_maps bridges": {
        **dict.fromkeys(("a", "b", "fake_logits"), Data(X)),
        "flow_map": PREDICTION,
        "real": denoiser,
        "t": Time(_T),
        "s": Time(_S),
        "network": OUTPUT,
        "x_t": SAME,
        "middle": Time(_MIDDLE),
        "fraction": Data(_MIDDLE, "below, above: any place of the path; integer: 0 and 1 are the ends"),
        "probe": Data(X),
        "head": OUTPUT,
        "ts": Data(TS),
        "fake": Shaped(X, of=fixed),
        "samples": Data(X, alias="x0"),
        "times": Data(Times(_T, EACH), ENDS, alias="t"),
    },
}
_BY_USUAL = """
    flow_maps.divergence_loss flow_maps.fake_score_loss flow_maps.matching_loss flow_maps.middle_time
    flow_maps.pseudo_huber flow_maps.squared_error flow_maps.step_weight flow_maps.student_steps
    flow_maps.transport samplers.corrupt_denoise samplers.effective_sample_size samplers.invert samplers.sdedit
    samplers.systematic_resample samplers.translate
"""
ROWS = {
    **dict.fromkeys(_BY_USUAL.split(), call()),
    "solvers.grids.from_sigmas": call(sigmas=Data(floats(9.0, 1.0, 0.1), "integer: [9, 1, 0]")),
    "samplers.repaint": call(
        solver=_ANCESTRAL,
        x_init=Data(X, "nan: what is known is replaced"),
        mask=Shaped(np.array([True, False, False])),
        observation=Shaped(X),
        jump_length=1,
        num_resamples=1,
    ),
    "samplers.trajectory_log_probs": call(solver=_ANCESTRAL, trajectory=Data(np.stack([X, X, X]), "shape")),
    "likelihood.bits_per_dim": call(
        log_p=Data(floats(-3.0), "integer, shape, empty"), bins=4, dequantisation="uniform"
    ),
    "likelihood.dequantised_bits_per_dim": call(
        log_density=lambda key, z: jnp.sum(z, axis=-1), x=Classes(np.array([[0, 1], [2, 3]]), num_classes=4), bins=4
    ),
    "likelihood.boundary_terms": call(schedule=COSINE, eps=Data(_GIVEN_X), bins=2, **_RANGE),
    "flow_maps.flow_map_from_network": call(
        then="x_t t s",
        x_t=Data(X, "nan: NaN stays NaN", alias="t"),
        t=_NETWORK_T,
        s=Data(_S, f"{ENDS}; nan: the network takes it"),
        target="velocity",
    ),
    "flow_maps.kernel_drift": call(x=Data(X, alias="data"), data=Data(X), samples=Data(X)),
    "flow_maps.drift_weights": call(
        labels=Classes(np.array([0, 1]), "negative, too large", num_classes=2),
        data_labels=Classes(np.array([1, 1, 0]), "negative, too large", num_classes=2),
        guidance_scale=2.0,
    ),
    "flow_maps.drifting_loss": call(samples=Data(X, alias="data"), data=Data(X), bandwidths=(0.5,)),
    "flow_maps.discriminator_loss": call(real_logits=Data(X, "shape", alias="fake_logits")),
}
