"""Samplers."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Count, Data, Number, Shaped, call
from experiments.benchmarks.faults.library.solvers import SCHEDULE, TS, X, denoiser
from scorekit import samplers, solvers

KEY = jax.random.key(0)
_ANY = {"shape": "any shape"}
_TIMES = Data(TS, {"integer": "only [1, 0] could be meant, and ones do not decrease"})
_STATE = Data(X, _ANY)
_TOLERANCES = {"rtol": Number(0.1, low=0.0, high=1.0), "atol": 0.1, "max_steps": 50}
_ENDS = {"t_start": 0.9, "t_end": 0.1}
_MODEL = {"denoiser": denoiser, "schedule": SCHEDULE}
_REPLACED = Data(X, {"nan": "what is known is replaced"})
_LOG_WEIGHTS = Data(np.log(np.array([0.5, 0.25, 0.25], np.float32)), {"integer": "integers count as floats"})


def _log_density(x):
    return -0.5 * jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim)))


def _likelihood(x0):
    return _log_density(x0)


ROWS: dict[str, Call] = {
    "samplers.adaptive_ode": call(
        samplers.adaptive_ode, **_MODEL, x_init=_STATE, **_TOLERANCES, **_ENDS,
        coordinate="flow", block_size=8,
    ),
    "samplers.adaptive_sde": call(samplers.adaptive_sde, key=KEY, **_MODEL, x_init=_STATE, **_TOLERANCES, **_ENDS),
    "samplers.corrupt_denoise": call(
        samplers.corrupt_denoise, key=KEY, **_MODEL, solver=solvers.Euler(), x=_STATE, ts=_TIMES, num_rounds=1
    ),
    "samplers.effective_sample_size": call(samplers.effective_sample_size, log_weights=_LOG_WEIGHTS),
    "samplers.few_steps": call(
        samplers.few_steps, schedule=SCHEDULE, steps=Count(5, least=5), sigma_data=1.0,
        t_max=0.9, t_min=0.001,
    ),
    "samplers.invert": call(samplers.invert, **_MODEL, solver=solvers.Euler(), x=_STATE, ts=_TIMES),
    "samplers.langevin": call(
        samplers.langevin, key=KEY, score=lambda x: -x, x=_STATE, step_size=0.1, num_steps=2
    ),
    "samplers.metropolis_langevin": call(
        lambda **given: samplers.metropolis_langevin(**given)[0],
        key=KEY, log_density=_log_density, x=_STATE, step_size=0.1, num_steps=2,
    ),
    "samplers.nfe": call(samplers.nfe, solver=solvers.Euler(), ts=_TIMES),
    "samplers.parallel_sample": call(
        samplers.parallel_sample, **_MODEL, solver=solvers.Euler(), x_init=_STATE, ts=_TIMES,
        tolerance=0.1, max_iterations=2, window=2,
    ),
    "samplers.product_sample": call(
        samplers.product_sample, key=KEY, base=denoiser, conditions=[denoiser], weights=[2.0], schedule=SCHEDULE,
        solver=solvers.Ancestral(), x_init=_STATE, ts=_TIMES,
    ),
    "samplers.recommended": call(
        samplers.recommended, schedule=SCHEDULE, steps=5, sigma_data=1.0,
        t_max=0.9, t_min=0.001,
    ),
    "samplers.recommended/target": call(
        samplers.recommended, schedule=SCHEDULE, steps=5, target=Choice("eps"),
        t_max=0.9, t_min=0.001,
    ),
    "samplers.repaint": call(
        samplers.repaint, key=KEY, **_MODEL, solver=solvers.Ancestral(), x_init=_REPLACED, ts=_TIMES,
        mask=Shaped(np.array([True, False, False])), observation=Shaped(X), jump_length=1, resamples=1,
    ),
    "samplers.sample": call(samplers.sample, key=None, **_MODEL, solver=solvers.Euler(), x_init=_STATE, ts=_TIMES),
    "samplers.sample_with_log_probs": call(
        samplers.sample_with_log_probs, key=KEY, **_MODEL, solver=solvers.Ancestral(), x_init=_STATE, ts=_TIMES
    ),
    "samplers.sdedit": call(samplers.sdedit, key=KEY, **_MODEL, solver=solvers.Euler(), x=_STATE, ts=_TIMES),
    "samplers.sgld": call(
        samplers.sgld, key=KEY, noisy_score=lambda key, x: -x, x=_STATE,
        step_sizes=Data(np.array([0.1, 0.1], np.float32), {"integer": "integers count as floats"}),
    ),
    "samplers.systematic_resample": call(samplers.systematic_resample, key=KEY, log_weights=_LOG_WEIGHTS),
    "samplers.trajectory_log_probs": call(
        samplers.trajectory_log_probs, **_MODEL, solver=solvers.Ancestral(), trajectory=Data(np.stack([X, X, X]), _ANY),
        ts=_TIMES,
    ),
    "samplers.translate": call(
        samplers.translate, source=denoiser, target=denoiser, schedule=SCHEDULE, solver=solvers.Euler(), x=_STATE,
        ts=_TIMES,
    ),
    "samplers.twisted_sample": call(
        samplers.twisted_sample, key=KEY, **_MODEL, solver=solvers.Ancestral(), x_init=_STATE, ts=_TIMES,
        log_likelihood=_likelihood, softening=0.1,
    ),
}  # fmt: skip

EXEMPT = {
    "samplers.FewSteps": "built by few_steps",
    "samplers.AdaptiveResult": "a result",
    "samplers.LoggedSample": "a result",
    "samplers.MetropolisResult": "a result",
    "samplers.ParallelResult": "a result",
    "samplers.ParticleResult": "a result",
}
