"""Schedules and samplers of times."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Data, Number, Shaped, Time, call
from scorekit import schedules, times

_ELEMENTWISE = {"shape": "elementwise", "empty": "elementwise", "integer": "becomes float32"}
_ANY = {"integer": "becomes float32"}
_T = np.array([0.25, 0.5, 0.75], np.float32)
_FLOW = schedules.rectified_flow()
_KEY = jax.random.key(0)

ROWS: dict[str, Call] = {
    "schedules.edm": call(schedules.edm, sigma_max=Number(80.0, low=0.002)),
    "schedules.from_betas": call(schedules.from_betas, betas=Data(np.full(3, 0.1))),
    "schedules.geometric_ve": call(schedules.geometric_ve, sigma_max=Number(50.0, low=0.01)),
    "schedules.learned": call(schedules.learned, num_knots=2, log_snr_max=Number(13.3, low=-5.0)),
    "schedules.linear_vp": call(schedules.linear_vp, beta_max=Number(20.0, low=0.05)),
    "schedules.schedule_from_functions": call(
        lambda alpha, sigma, log_snr: schedules.schedule_from_functions(
            lambda t: alpha, lambda t: sigma, log_snr=lambda t: log_snr
        ),
        alpha=Shaped(np.linspace(0.9, 0.1, 33)),
        sigma=Shaped(np.linspace(0.1, 0.9, 33)),
        log_snr=Data(np.linspace(5.0, -5.0, 33)),
    ),
    "schedules.shifted": call(schedules.shifted, base=_FLOW, noise_factor=2.0),
    "schedules.sigmoid": call(schedules.sigmoid, end=Number(3.0, low=-3.0)),
    "schedules.sub_vp": call(schedules.sub_vp, beta_max=Number(20.0, low=0.05)),
    "schedules.time_derivative": call(schedules.time_derivative, fn=jnp.square, t=Data(_T, _ELEMENTWISE)),
    "schedules.zero_terminal_snr": call(schedules.zero_terminal_snr, base=schedules.cosine()),
    "times.at_progress": call(
        lambda progress: times.at_progress(times.annealed(0.8, 0.2), progress).quantile(jnp.asarray(_T), _FLOW),
        progress=Time(np.zeros(3)),
    ),
    "times.band": call(times.band, power=Data(np.ones(2), _ANY), count=Data(np.ones(2), _ANY)),
    "times.discrete": call(
        times.discrete, ts=Data(_T, {"integer": "0 and 1 are times"}), weights=Data(np.ones(3), _ANY)
    ),
    "times.draw": call(times.draw, key=_KEY, n=3, sampler=times.uniform(), schedule=_FLOW),
    "times.stratified_uniform": call(times.stratified_uniform, key=_KEY, n=3),
    "times.update_adaptive": call(
        times.update_adaptive,
        sampler=times.adaptive(num_bins=3),
        t=Time(_T, {"nan": "a time that is not finite is ignored"}),
        loss=Data(np.ones(3, np.float32), {**_ANY, "nan": "a loss that is not finite is ignored"}),
    ),
}

EXEMPT = {
    "schedules.rectified_flow": "takes no arguments",
    **dict.fromkeys(
        [
            f"times.{name}"
            for name in ["Adaptive", "Annealed", "Band", "Discrete", "LogNormalSigma", "LogitNormal", "Uniform"]
        ]
        + ["times.UniformLogSNR"],
        "a sampler, built by its factory",
    ),
    "times.TimeSampler": "a protocol",
    "times.Times": "a result",
}
