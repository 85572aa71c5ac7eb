"""Solvers and time grids. Samplers. Likelihoods and variational bounds."""

import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.typing import Prediction
from valid_calls.common import COSINE, KEY, X
from valid_calls.kinds import Choice, Classes, Count, Data, Number, Shaped, call

_SCHEDULE, _ANCESTRAL = schedules.linear_vp(), solvers.Ancestral()
_TS = np.array([1.0, 0.5, 0.1], np.float32)
_STATE = Data(X, "shape")
_ENDS = {"t_max": 0.9, "t_min": 0.1}
_ADAPTIVE = {"rtol": Number(0.1, low=0.0, high=1.0), "atol": 0.1, "max_steps": 50, "t_start": 0.9, "t_end": 0.1}
_GIVEN_X = np.array([[1.0, -1.0]], np.float32)
_EXACT = {
    "denoiser": denoisers.exact_denoiser(densities.gaussian(np.zeros(2, np.float32), std=1.0), COSINE),
    "schedule": COSINE,
}
_RANGE = {"t_min": 0.01, "t_max": 0.9}
_GIVEN_TS = Data(np.array([0.9, 0.5, 0.1], np.float32))


def _denoiser(x, t):
    """Runs on anything."""
    return Prediction(0.5 * x, x)


def _log_density(x):
    return -0.5 * jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim)))


USUAL = {
    "ts": Data(_TS, "integer: only [1, 0] could be meant, and ones do not decrease"),
    "times": _TS,
    "key": KEY,
    **dict.fromkeys(("denoiser", "base", "source", "target"), _denoiser),
    "schedule": _SCHEDULE,
    "solver": solvers.Euler(),
    **dict.fromkeys(("x", "x_init"), _STATE),
    "x0": Data(_GIVEN_X, alias="x_t"),
    "n": 3,
    "log_weights": Data(np.log(np.array([0.5, 0.25, 0.25], np.float32)), "integer"),
    "step_size": 0.1,
    "num_steps": 2,
    "steps": 5,
}
ROWS = {
    "solvers.DPS": call(  # takes no step: its constructor validates
        lambda **given: solvers.DPS(**given).order,
        operator=lambda x: x,
        observation=X,
        inner=solvers.Euler(),
        step_size=0.5,
    ),
    "solvers.grids.check_grid": call(),
    "solvers.grids.from_sigmas": call(sigmas=Data(np.array([9.0, 1.0, 0.1], np.float32), "integer: [9, 1, 0]")),
    "solvers.grids.karras": call(**_ENDS),
    "solvers.grids.matching": call(other=_SCHEDULE, ts=Data(_TS, "integer")),
    "solvers.grids.uniform_log_snr": call(**_ENDS),
    "solvers.grids.vp_quadratic": call(**_ENDS),
    "solvers.noise_levels": call(times=Data(_TS, "shape, integer, empty")),
    "solvers.noise_levels/max_past": call(max_past=2),
    "solvers.precomputed": call(
        lambda ts: samplers.sample(
            None, _denoiser, _SCHEDULE, solvers.precomputed(solvers.Euler(), _SCHEDULE, ts), X, _TS
        ),
        ts=Data(_TS, "integer"),
    ),
    "samplers.adaptive_ode": call(**_ADAPTIVE, coordinate="flow", block_size=8),
    "samplers.adaptive_sde": call(**_ADAPTIVE),
    "samplers.corrupt_denoise": call(num_rounds=1),
    "samplers.effective_sample_size": call(),
    "samplers.few_steps": call(steps=Count(5, least=5), sigma_data=1.0, t_max=0.9, t_min=0.001),
    "samplers.invert": call(),
    "samplers.langevin": call(score=lambda x: -x),
    "samplers.metropolis_langevin": call(
        lambda key, x, step_size, num_steps: samplers.metropolis_langevin(key, _log_density, x, step_size, num_steps)[0]
    ),
    "samplers.nfe": call(),
    "samplers.parallel_sample": call(tolerance=0.1, max_iterations=2, window=2),
    "samplers.product_sample": call(conditions=[_denoiser], weights=[2.0], solver=_ANCESTRAL),
    "samplers.recommended": call(sigma_data=1.0, t_max=0.9, t_min=0.001),
    "samplers.recommended/target": call(target=Choice("eps"), t_max=0.9, t_min=0.001),
    "samplers.repaint": call(
        solver=_ANCESTRAL,
        x_init=Data(X, "nan: what is known is replaced"),
        mask=Shaped(np.array([True, False, False])),
        observation=Shaped(X),
        jump_length=1,
        resamples=1,
    ),
    "samplers.sample": call(key=None),
    "samplers.sample_with_log_probs": call(solver=_ANCESTRAL),
    "samplers.sdedit": call(),
    "samplers.sgld": call(noisy_score=lambda key, x: -x, step_sizes=Data(np.array([0.1, 0.1], np.float32), "integer")),
    "samplers.systematic_resample": call(),
    "samplers.trajectory_log_probs": call(solver=_ANCESTRAL, trajectory=Data(np.stack([X, X, X]), "shape")),
    "samplers.translate": call(),
    "samplers.twisted_sample": call(solver=_ANCESTRAL, log_likelihood=_log_density, softening=0.1),
    "likelihood.bits_per_dim": call(
        log_p=Data(np.array([-3.0], np.float32), "integer, shape, empty"),
        event_size=2,
        bins=4,
        dequantisation="uniform",
    ),
    "likelihood.dequantised_bits_per_dim": call(
        log_density=lambda key, z: jnp.sum(z, axis=-1), x=Classes(np.array([[0, 1], [2, 3]]), num_classes=4), bins=4
    ),
    "likelihood.variational_bound": call(num_times=2, **_EXACT, **_RANGE),
    "likelihood.variational_bound/bins": call(num_times=2, bins=2, **_EXACT),
    "likelihood.boundary_terms": call(schedule=COSINE, eps=Data(_GIVEN_X), bins=2, **_RANGE),
    "likelihood.discrete_variational_bound": call(ts=_GIVEN_TS, bins=2, **_EXACT),
    "likelihood.log_likelihood": call(key=None, rtol=0.1, atol=0.1, max_steps=100, block_size=8, **_EXACT, **_RANGE),
    "likelihood.log_likelihood/probes": call(key=KEY, divergence="rademacher", ts=_GIVEN_TS, **_EXACT),
}
