"""The methods: every sampler of posteriors, and its cost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.projects.posteriors.problems import DIM, SCHEDULE
from experiments.tasks.diffusion.inverse.methods import LEAST_LOG_SNR
from scorekit import guidance, process, samplers, solvers
from scorekit.typing import Array, Denoiser, Key

METHODS = ("replacement", "repaint", "dps", "pigdm", "mmps", "twisted", "annealed")
STEPS = {"replacement": 100, "repaint": 50, "dps": 200, "pigdm": 100, "mmps": 100, "twisted": 200}
"""Steps of the methods but the last, whose particles start from the prior by ``_START`` steps."""
_START = 80
_RESAMPLES, _ITERATIONS = {"jump_length": 5, "num_resamples": 10}, 3


def cost(method: str, stages: int, steps: int) -> tuple[int, int]:
    """Evaluations and vector-Jacobian products of one posterior, each of all its samples at once."""
    n = STEPS.get(method, _START)
    if method == "annealed":
        return n + stages * steps, 0
    if method == "repaint":
        return int(np.sum(np.diff(samplers.repaint_path(n, **_RESAMPLES)) > 0)), 0
    return n, n * {"dps": 1, "pigdm": 1, "mmps": _ITERATIONS + 1, "twisted": 1}.get(method, 0)


def _apply(matrix: Array, x: Array) -> Array:
    return x @ matrix.T


@functools.partial(jax.jit, static_argnames=("method", "count", "stages", "steps"))
def draw(
    key: Key, method: str, denoiser: Denoiser, matrix: Array, y: Array, noise_std, count: int, stages: int, steps: int
):
    """Samples ``(count, 64)`` of the posterior of y ``(64,)``, and the log-evidence if the method estimates it.

    Args:
      stages: number of levels of "annealed".
      steps: number of steps of its draws.
    """
    for_noise, key = jax.random.split(key)
    first = SCHEDULE.time_at(LEAST_LOG_SNR)
    ts = solvers.grids.uniform(STEPS.get(method, _START), first if method in ("dps", "pigdm", "mmps") else 1.0)
    noise = process.sample_prior(for_noise, SCHEDULE, jnp.zeros((count, DIM)), ts[0])
    operator, solver, unknown = jax.tree_util.Partial(_apply, matrix), solvers.DPMSolverPP2MSDE(), jnp.full((), jnp.nan)
    each = jnp.broadcast_to(y, (count, DIM))
    problem = (denoiser, SCHEDULE, operator, each, noise_std)
    match method:
        case "annealed":
            arguments = SCHEDULE, solvers.DPMSolverPP2M(), noise, ts, operator, y, noise_std
            options = {"num_stages": stages, "steps": steps, "pace": max(1.0 - 4.0 / stages, 0.0)}
            result = samplers.annealed_posterior(key, denoiser, *arguments, **options)
            return result.x, result.log_evidence
        case "twisted":
            log_likelihood = lambda x: -0.5 * jnp.sum(jnp.square((y - operator(x)) / noise_std), -1)
            arguments = SCHEDULE, solver, noise, ts, log_likelihood
            result = samplers.twisted_sample(key, denoiser, *arguments, softening=noise_std**-2)
            observed = jnp.sum(jnp.abs(matrix).sum(1) > 1e-6)
            constant = 0.5 * observed * jnp.log(2 * jnp.pi * noise_std**2)
            index = samplers.systematic_resample(key, result.log_weights)
            return result.x[index], result.log_normalizer - constant
        case "repaint":
            keep = jnp.diag(matrix) > 0
            ancestral = solvers.Ancestral()
            return samplers.repaint(key, denoiser, SCHEDULE, ancestral, noise, ts, keep, each, **_RESAMPLES), unknown
        case "dps":
            rule, inner = denoiser, solvers.Ancestral()
            solver = solvers.DPS(operator=operator, observation=each, base=inner, step_size=0.3)
        case "mmps":
            rule = guidance.mmps(*problem, num_iterations=_ITERATIONS)
        case _:
            rule = getattr(guidance, method)(*problem)
    return samplers.sample(rule, SCHEDULE, solver, noise, ts, key=key), unknown
