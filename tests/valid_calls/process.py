"""Trees, schedules, samplers of times, weightings, targets and the forward process."""

import inspect

import jax.numpy as jnp
import numpy as np

from scorekit import schedules, times, trees, weightings
from scorekit.typing import Prediction
from valid_calls.common import COSINE, EACH, FLOW, KEY, X, constant
from valid_calls.kinds import Choice, Data, Number, Shaped, Time, call

_T = np.array([0.25, 0.5], np.float32)
_THREE = np.array([0.25, 0.5, 0.75], np.float32)
_LOG_SNR = Data(np.array([-1.0, 1.0], np.float32), "shape, empty, integer")
_TWO = Data(np.ones(2), "integer")
USUAL = {
    "schedule": FLOW,
    "log_snr": _LOG_SNR,
    "tree": Data({"a": X, "b": EACH}, "shape, empty, integer; nan: only shapes are read"),
    "coefficient": Data(EACH, "integer"),
    "key": KEY,
    "fn": jnp.square,
    "power": _TWO,
    "count": _TWO,
    "t": Time(_T),
    "n": 3,
    "base": FLOW,
}
ROWS = {
    "trees.batch_size": call(),
    "trees.batch_size/shapes": call(
        lambda x: trees.batch_size({"x": x, "y": np.ones(2)}),
        x=Data(X, "empty; shape: only shapes are read; integer: only shapes are read; nan: only shapes are read"),
    ),
    "trees.event_size": call(),
    "trees.expand": call(leaf=X),
    "trees.combine": call(
        lambda coefficient, x, y: trees.combine((coefficient, x), (1.0, y)),
        x=Data(X, alias="terms"),
        y=Shaped(X, alias="terms"),
    ),
    "trees.where": call(condition=np.array([True, False]), on_true=Data(X, "integer"), on_false=Shaped(X)),
    "trees.normal_like": call(tree=Data(X, "shape, empty; nan: any")),
    "trees.sum_per_example": call(tree=Data(X, "shape, integer, empty")),
    **{
        f"weightings.{name}": call(log_snr=_LOG_SNR)
        for name in weightings.__all__
        if "log_snr" in inspect.signature(getattr(weightings, name)).parameters
    },
    "weightings.band": call(then="log_snr", count=_TWO),
    "weightings.per_log_snr": call(then="log_snr", weighting=weightings.eps),
    "weightings.likelihood": call(then="log_snr"),
    "predictions.bounded_log_snr": call(t=Data(_T, "shape, empty, integer")),
    "predictions.as_target": call(target=Choice("v")),
    "predictions.convert": call(output=Shaped(X), x_t=Data(X, "empty"), source=Choice("v"), target=Choice("x0")),
    "predictions.with_x0": call(
        prediction=Shaped(Prediction(X, X)), x0=Data(X, "empty"), t=Data(_T, "integer: 0 and 1 are times")
    ),
    "process.perturb": call(x0=Data(X), eps=Data(X)),
    **{
        f"process.{name}": call(t=Time(_T, "axes, longer"))
        for name in ("drift", "diffusion_squared", "autodiff_drift", "autodiff_diffusion_squared")
    },
    **{
        f"process.{name}": call(t=Time(0.5, "axes"), s=Time(0.25, "axes"))
        for name in ("snr_drop", "transition", "posterior")
    },
    "process.sample_prior": call(like=Data(X, "shape, empty; nan: only its shape and dtype are read"), t=Time(0.5)),
    "process.score": call(prediction=Data(Prediction(X, X), "empty, shape"), t=Time(0.5)),
    "schedules.edm": call(sigma_max=Number(80.0, low=0.002)),
    "schedules.from_betas": call(betas=Data(np.full(3, 0.1))),
    "schedules.geometric_ve": call(sigma_max=Number(50.0, low=0.01)),
    "schedules.learned": call(num_knots=2, log_snr_max=Number(13.3, low=-5.0)),
    "schedules.linear_vp": call(beta_max=Number(20.0, low=0.05)),
    "schedules.schedule_from_functions": call(
        lambda alpha, sigma, log_snr: schedules.schedule_from_functions(
            constant(alpha), constant(sigma), log_snr=constant(log_snr)
        ),
        alpha=Shaped(np.linspace(0.9, 0.1, 33)),
        sigma=Shaped(np.linspace(0.1, 0.9, 33)),
        log_snr=Data(np.linspace(5.0, -5.0, 33)),
    ),
    "schedules.shifted": call(noise_factor=2.0),
    "schedules.sigmoid": call(end=Number(3.0, low=-3.0)),
    "schedules.sub_vp": call(beta_max=Number(20.0, low=0.05)),
    "schedules.time_derivative": call(t=Data(_THREE, "shape, empty, integer")),
    "schedules.zero_terminal_snr": call(base=COSINE),
    "times.at_progress": call(
        lambda progress: times.at_progress(times.annealed(0.8, 0.2), progress).quantile(jnp.asarray(_THREE), FLOW),
        progress=Time(np.zeros(3)),
    ),
    "times.band": call(count=Data(np.ones(2), "integer")),
    "times.discrete": call(ts=Data(_THREE, "integer: 0 and 1 are times"), weights=Data(np.ones(3), "integer")),
    "times.draw": call(sampler=times.uniform()),
    "times.stratified_uniform": call(),
    "times.update_adaptive": call(
        sampler=times.adaptive(num_bins=3),
        t=Time(_THREE, "nan: a time that is not finite is ignored"),
        loss=Data(np.ones(3, np.float32), "integer; nan: a loss that is not finite is ignored"),
    ),
}
