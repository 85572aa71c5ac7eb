"""Weightings, targets and the forward process."""

import inspect

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Data, Shaped, Time, call
from scorekit import predictions, process, schedules, weightings
from scorekit.typing import Prediction

_FLOW = schedules.rectified_flow()
_X = np.ones((2, 3), np.float32)
_T = np.array([0.25, 0.5], np.float32)
_EMPTY = {"empty": "an empty batch gives an empty batch"}
_ELEMENTWISE = {"shape": "elementwise", "empty": "elementwise", "integer": "becomes float32"}
_ONE = {"axes": "elementwise"}
_LOG_SNR = Data(np.array([-1.0, 1.0], np.float32), _ELEMENTWISE)
_TIMES = Time(_T, {"axes": "elementwise", "longer": "elementwise"})


ROWS: dict[str, Call] = {
    **{
        f"weightings.{name}": call(getattr(weightings, name), log_snr=_LOG_SNR)
        for name in weightings.__all__
        if "log_snr" in inspect.signature(getattr(weightings, name)).parameters
    },
    "weightings.band": call(
        lambda log_snr, power, count: weightings.band(power, count)(log_snr),
        log_snr=_LOG_SNR,
        power=Data(np.ones(2), {"integer": "becomes float32"}),
        count=Data(np.ones(2), {"integer": "becomes float32"}),
    ),
    "weightings.per_log_snr": call(
        lambda log_snr: weightings.per_log_snr(weightings.eps, _FLOW)(log_snr), log_snr=_LOG_SNR
    ),
    "weightings.likelihood": call(lambda log_snr: weightings.likelihood(_FLOW)(log_snr), log_snr=_LOG_SNR),
    "predictions.bounded_log_snr": call(predictions.bounded_log_snr, t=Data(_T, _ELEMENTWISE), schedule=_FLOW),
    "predictions.as_target": call(predictions.as_target, target=Choice("v")),
    "predictions.convert": call(
        predictions.convert,
        output=Shaped(_X),
        x_t=Data(_X, _EMPTY),
        t=Time(_T),
        schedule=_FLOW,
        source=Choice("v"),
        target=Choice("x0"),
    ),
    "predictions.with_x0": call(
        predictions.with_x0,
        prediction=Shaped(Prediction(_X, _X)),
        x0=Data(_X, _EMPTY),
        t=Data(_T, {"integer": "0 and 1 are times"}),
        schedule=_FLOW,
    ),
    "process.perturb": call(process.perturb, x0=Data(_X), eps=Data(_X), t=Time(_T), schedule=_FLOW),
    **{
        f"process.{name}": call(getattr(process, name), schedule=_FLOW, t=_TIMES)
        for name in ("drift", "diffusion_squared", "autodiff_drift", "autodiff_diffusion_squared")
    },
    **{
        f"process.{name}": call(getattr(process, name), schedule=_FLOW, t=Time(0.5, _ONE), s=Time(0.25, _ONE))
        for name in ("snr_drop", "transition", "posterior")
    },
    "process.sample_prior": call(
        process.sample_prior,
        key=jax.random.key(0),
        schedule=_FLOW,
        like=Data(_X, {name: "only its shape and dtype are read" for name in ("shape", "nan", "empty")}),
        t=Time(0.5),
    ),
    "process.score": call(
        process.score,
        prediction=Data(Prediction(_X, _X), {**_EMPTY, "shape": "any shape"}),
        t=Time(0.5),
        schedule=_FLOW,
    ),
}

EXEMPT = {
    **dict.fromkeys(
        [f"predictions.{name}" for name in ("X0", "Eps", "Score", "V", "Velocity", "EDMTarget")],
        "a target, whose arguments convert and denoiser_from_network check",
    ),
    "predictions.Target": "a protocol",
    "process.Kernel": "a result",
}
