"""Solvers and time grids. Samplers. Likelihoods and variational bounds."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.typing import Prediction
from valid_calls.kinds import Choice, Classes, Count, Data, Number, Shaped, call

SCHEDULE = schedules.linear_vp()
TS = np.array([1.0, 0.5, 0.1], np.float32)
X = np.ones((2, 3), np.float32)


def denoiser(x, t):
    """Runs on anything."""
    return Prediction(0.5 * x, x)


def taken(make):
    """Builds a solver and takes no step: its constructor validates."""
    return lambda **numbers: make(**numbers).order


_ENDS = {"t_max": 0.9, "t_min": 0.1}
KEY = jax.random.key(0)
_TIMES = Data(TS, "integer: only [1, 0] could be meant, and ones do not decrease")
_STATE = Data(X, "shape")
_TOLERANCES = {"rtol": Number(0.1, low=0.0, high=1.0), "atol": 0.1, "max_steps": 50}
_ENDS_SAMPLERS = {"t_start": 0.9, "t_end": 0.1}
_MODEL = {"denoiser": denoiser, "schedule": SCHEDULE}
_REPLACED = Data(X, "nan: what is known is replaced")
_LOG_WEIGHTS = Data(np.log(np.array([0.5, 0.25, 0.25], np.float32)), "integer")


def _log_density(x):
    return -0.5 * jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim)))


def _likelihood(x0):
    return _log_density(x0)


_KEY = jax.random.key(0)
_SCHEDULE = schedules.cosine()
_DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(2, np.float32), std=1.0), _SCHEDULE)
_X = np.array([[1.0, -1.0]], np.float32)
_DATA = Data(_X, alias="x_t")
_TS = Data(np.array([0.9, 0.5, 0.1], np.float32))
_TIMES_LIKELIHOOD = {"t_min": 0.01, "t_max": 0.9}
USUAL = {
    "ts": _TIMES,
    "schedule": SCHEDULE,
    "key": KEY,
    "x_init": _STATE,
    "solver": solvers.Euler(),
    "x": _STATE,
    "denoiser": _DENOISER,
    "x0": _DATA,
    "n": 3,
    "log_weights": _LOG_WEIGHTS,
    "step_size": 0.1,
    "num_steps": 2,
    "steps": 5,
}
ROWS = {
    "solvers.DPS": call(taken(solvers.DPS), operator=lambda x: x, observation=X, inner=solvers.Euler(), step_size=0.5),
    "solvers.grids.check_grid": call(ts=Data(TS, "integer: only [1, 0] could be meant, and ones do not decrease")),
    "solvers.grids.karras": call(rho=7.0, **_ENDS),
    "solvers.grids.matching": call(other=SCHEDULE, ts=Data(TS, "integer")),
    "solvers.grids.uniform_log_snr": call(**_ENDS),
    "solvers.grids.vp_quadratic": call(power=2.0, **_ENDS),
    "solvers.noise_levels": call(times=Data(TS, "shape, integer, empty")),
    "solvers.noise_levels/max_past": call(times=TS, max_past=2),
    "solvers.precomputed": call(
        lambda ts: samplers.sample(None, denoiser, SCHEDULE, solvers.precomputed(solvers.Euler(), SCHEDULE, ts), X, TS),
        ts=Data(TS, "integer"),
    ),
    "samplers.adaptive_ode": call(**_MODEL, **_TOLERANCES, **_ENDS_SAMPLERS, coordinate="flow", block_size=8),
    "samplers.adaptive_sde": call(**_MODEL, **_TOLERANCES, **_ENDS_SAMPLERS),
    "samplers.corrupt_denoise": call(**_MODEL, num_rounds=1),
    "samplers.effective_sample_size": call(),
    "samplers.few_steps": call(steps=Count(5, least=5), sigma_data=1.0, t_max=0.9, t_min=0.001),
    "samplers.invert": call(**_MODEL),
    "samplers.langevin": call(score=lambda x: -x),
    "samplers.metropolis_langevin": call(
        lambda **given: samplers.metropolis_langevin(**given)[0],
        key=KEY,
        log_density=_log_density,
        x=_STATE,
        step_size=0.1,
        num_steps=2,
    ),
    "samplers.nfe": call(),
    "samplers.parallel_sample": call(**_MODEL, tolerance=0.1, max_iterations=2, window=2),
    "samplers.product_sample": call(base=denoiser, conditions=[denoiser], weights=[2.0], solver=solvers.Ancestral()),
    "samplers.recommended": call(sigma_data=1.0, t_max=0.9, t_min=0.001),
    "samplers.recommended/target": call(target=Choice("eps"), t_max=0.9, t_min=0.001),
    "samplers.repaint": call(
        **_MODEL,
        solver=solvers.Ancestral(),
        x_init=_REPLACED,
        mask=Shaped(np.array([True, False, False])),
        observation=Shaped(X),
        jump_length=1,
        resamples=1,
    ),
    "samplers.sample": call(key=None, **_MODEL),
    "samplers.sample_with_log_probs": call(**_MODEL, solver=solvers.Ancestral()),
    "samplers.sdedit": call(**_MODEL),
    "samplers.sgld": call(noisy_score=lambda key, x: -x, step_sizes=Data(np.array([0.1, 0.1], np.float32), "integer")),
    "samplers.systematic_resample": call(),
    "samplers.trajectory_log_probs": call(
        **_MODEL, solver=solvers.Ancestral(), trajectory=Data(np.stack([X, X, X]), "shape")
    ),
    "samplers.translate": call(source=denoiser, target=denoiser),
    "samplers.twisted_sample": call(**_MODEL, solver=solvers.Ancestral(), log_likelihood=_likelihood, softening=0.1),
    "likelihood.bits_per_dim": call(
        log_p=Data(np.array([-3.0], np.float32), "integer, shape, empty"),
        event_size=2,
        bins=4,
        dequantisation="uniform",
    ),
    "likelihood.dequantised_bits_per_dim": call(
        key=_KEY,
        log_density=lambda key, z: jnp.sum(z, axis=-1),
        x=Classes(np.array([[0, 1], [2, 3]]), num_classes=4),
        bins=4,
    ),
    "likelihood.variational_bound": call(key=_KEY, schedule=_SCHEDULE, num_times=2, **_TIMES_LIKELIHOOD),
    "likelihood.variational_bound/bins": call(
        key=_KEY, schedule=_SCHEDULE, num_times=2, x0=Data(_X, alias="x_t"), bins=2
    ),
    "likelihood.boundary_terms": call(schedule=_SCHEDULE, eps=Data(_X), bins=2, **_TIMES_LIKELIHOOD),
    "likelihood.discrete_variational_bound": call(key=_KEY, schedule=_SCHEDULE, ts=_TS, bins=2),
    "likelihood.log_likelihood": call(
        key=None, schedule=_SCHEDULE, rtol=0.1, atol=0.1, max_steps=100, block_size=8, **_TIMES_LIKELIHOOD
    ),
    "likelihood.log_likelihood/probes": call(key=_KEY, schedule=_SCHEDULE, divergence="rademacher", ts=_TS),
}
