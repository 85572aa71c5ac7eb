"""Trees, schedules, samplers of times, weightings, targets and the forward process."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import process, schedules, times, trees, weightings
from scorekit.typing import Prediction
from valid_calls.kinds import Choice, Data, Number, Shaped, Time, call

_TREE = {"a": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)}
_X = np.ones((2, 3), np.float32)
_FLOW = schedules.rectified_flow()
_T = np.array([0.25, 0.5], np.float32)
_LOG_SNR = Data(np.array([-1.0, 1.0], np.float32), "shape, empty, integer")
_TIMES = Time(_T, "axes, longer")
_T_SCHEDULES = np.array([0.25, 0.5, 0.75], np.float32)
_KEY = jax.random.key(0)
USUAL = {
    "schedule": _FLOW,
    "log_snr": _LOG_SNR,
    "tree": Data(_TREE, "shape, empty, integer; nan: only shapes are read"),
    "coefficient": Data(np.ones(2, np.float32), "integer"),
    "key": jax.random.key(0),
    "fn": jnp.square,
    "power": Data(np.ones(2), "integer"),
    "count": Data(np.ones(2), "integer"),
    "t": Time(_T),
    "n": 3,
}
ROWS = {
    "trees.batch_size": call(),
    "trees.batch_size/shapes": call(
        lambda x: trees.batch_size({"x": x, "y": np.ones(2)}),
        x=Data(_X, "empty; shape: only shapes are read; integer: only shapes are read; nan: only shapes are read"),
    ),
    "trees.event_size": call(),
    "trees.expand": call(leaf=_X),
    "trees.combine": call(
        lambda coefficient, x, y: trees.combine((coefficient, x), (1.0, y)),
        x=Data(_X, alias="terms"),
        y=Shaped(_X, alias="terms"),
    ),
    "trees.where": call(condition=np.array([True, False]), on_true=Data(_X, "integer"), on_false=Shaped(_X)),
    "trees.normal_like": call(tree=Data(_X, "shape, empty; nan: any")),
    "trees.sum_per_example": call(tree=Data(_X, "shape, integer, empty")),
    **{
        f"weightings.{name}": call(getattr(weightings, name), log_snr=_LOG_SNR)
        for name in weightings.__all__
        if "log_snr" in inspect.signature(getattr(weightings, name)).parameters
    },
    "weightings.band": call(lambda log_snr, power, count: weightings.band(power, count)(log_snr)),
    "weightings.per_log_snr": call(lambda log_snr: weightings.per_log_snr(weightings.eps, _FLOW)(log_snr)),
    "weightings.likelihood": call(lambda log_snr: weightings.likelihood(_FLOW)(log_snr)),
    "predictions.bounded_log_snr": call(t=Data(_T, "shape, empty, integer")),
    "predictions.as_target": call(target=Choice("v")),
    "predictions.convert": call(output=Shaped(_X), x_t=Data(_X, "empty"), source=Choice("v"), target=Choice("x0")),
    "predictions.with_x0": call(
        prediction=Shaped(Prediction(_X, _X)), x0=Data(_X, "empty"), t=Data(_T, "integer: 0 and 1 are times")
    ),
    "process.perturb": call(x0=Data(_X), eps=Data(_X)),
    **{
        f"process.{name}": call(getattr(process, name), schedule=_FLOW, t=_TIMES)
        for name in ("drift", "diffusion_squared", "autodiff_drift", "autodiff_diffusion_squared")
    },
    **{
        f"process.{name}": call(getattr(process, name), schedule=_FLOW, t=Time(0.5, "axes"), s=Time(0.25, "axes"))
        for name in ("snr_drop", "transition", "posterior")
    },
    "process.sample_prior": call(like=Data(_X, "shape, empty; nan: only its shape and dtype are read"), t=Time(0.5)),
    "process.score": call(prediction=Data(Prediction(_X, _X), "empty, shape"), t=Time(0.5)),
    "schedules.edm": call(sigma_max=Number(80.0, low=0.002)),
    "schedules.from_betas": call(betas=Data(np.full(3, 0.1))),
    "schedules.geometric_ve": call(sigma_max=Number(50.0, low=0.01)),
    "schedules.learned": call(num_knots=2, log_snr_max=Number(13.3, low=-5.0)),
    "schedules.linear_vp": call(beta_max=Number(20.0, low=0.05)),
    "schedules.schedule_from_functions": call(
        lambda alpha, sigma, log_snr: schedules.schedule_from_functions(
            lambda t: alpha, lambda t: sigma, log_snr=lambda t: log_snr
        ),
        alpha=Shaped(np.linspace(0.9, 0.1, 33)),
        sigma=Shaped(np.linspace(0.1, 0.9, 33)),
        log_snr=Data(np.linspace(5.0, -5.0, 33)),
    ),
    "schedules.shifted": call(base=_FLOW, noise_factor=2.0),
    "schedules.sigmoid": call(end=Number(3.0, low=-3.0)),
    "schedules.sub_vp": call(beta_max=Number(20.0, low=0.05)),
    "schedules.time_derivative": call(t=Data(_T_SCHEDULES, "shape, empty, integer")),
    "schedules.zero_terminal_snr": call(base=schedules.cosine()),
    "times.at_progress": call(
        lambda progress: times.at_progress(times.annealed(0.8, 0.2), progress).quantile(
            jnp.asarray(_T_SCHEDULES), _FLOW
        ),
        progress=Time(np.zeros(3)),
    ),
    "times.band": call(count=Data(np.ones(2), "integer")),
    "times.discrete": call(ts=Data(_T_SCHEDULES, "integer: 0 and 1 are times"), weights=Data(np.ones(3), "integer")),
    "times.draw": call(key=_KEY, sampler=times.uniform()),
    "times.stratified_uniform": call(key=_KEY),
    "times.update_adaptive": call(
        sampler=times.adaptive(num_bins=3),
        t=Time(_T_SCHEDULES, "nan: a time that is not finite is ignored"),
        loss=Data(np.ones(3, np.float32), "integer; nan: a loss that is not finite is ignored"),
    ),
}
