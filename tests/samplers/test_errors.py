"""Samplers name arguments with which they would draw from another law than the one asked for."""

import jax
import jax.numpy as jnp
import numpy as np
from errors import raising

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.guidance import operators
from scorekit.samplers import few_steps
from scorekit.solvers import grids
from scorekit.typing import Prediction

KEY, FLOW, COSINE, TS = jax.random.key(0), schedules.RectifiedFlow(), schedules.Cosine(), grids.uniform(4)
X, EULER, ANCESTRAL = jnp.ones((3, 2)), solvers.Euler(), solvers.Ancestral()
OF_A_GRID = solvers.precomputed(EULER, COSINE, TS)
NORMAL = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), std=1.0), COSINE)
POINT = denoisers.denoiser_from_network(lambda x, t: jnp.zeros_like(x), COSINE, "x0")
FEW, GRID = few_steps(FLOW, 5)


class NoStd(solvers.LinearSolver):
    stochastic = True

    def row(self, schedule, times, num_past):
        return EULER.row(schedule, times, num_past)


def same(x, t):
    return Prediction(x, x)


def scalar(x):
    return jnp.sum(x)


def each(x):
    return -jnp.sum(jnp.square(x), axis=-1)


def sample(ts=TS, solver=EULER):
    return samplers.sample(same, COSINE, solver, X, jnp.array(ts))


def adaptive(**changes):
    return samplers.adaptive_ode(same, **{"schedule": COSINE, "x_init": X, **changes})


def annealed(observation=(1.0, 0.0), noise_std=0.5, operator=lambda x: x, schedule=COSINE, prior=NORMAL, **options):
    solver, given = solvers.DPMSolverPP2M(), (operator, jnp.asarray(observation), noise_std)
    options = {"ts": TS, "num_stages": 2, "steps": 2, **options}
    return samplers.annealed_posterior(KEY, prior, schedule, solver, X, options.pop("ts"), *given, **options)


def twisted(solver=ANCESTRAL, ts=TS, log_likelihood=each, **options):
    return samplers.twisted_sample(KEY, NORMAL, COSINE, solver, X, ts, log_likelihood, **options)


def product(weights):
    return samplers.product_sample(KEY, NORMAL, COSINE, ANCESTRAL, X, TS, [NORMAL], weights)


def repaint(solver=EULER, mask=(True, False)):
    return samplers.repaint(KEY, NORMAL, COSINE, solver, X, TS, np.array(mask), X)


def log_probs(solver=ANCESTRAL, ts=TS):
    return samplers.sample_with_log_probs(KEY, same, COSINE, solver, X, ts)


def of_path(solver=ANCESTRAL, length=5):
    return samplers.trajectory_log_probs(same, COSINE, solver, jnp.zeros((length, 3, 2)), TS)


test_errors_name_the_argument = raising(
    [
        *(("ts must", lambda ts=ts: sample(ts)) for ts in ([0.5, 0.8], [1.5, 0.5], [0.5, -0.1], [0.5, np.nan], [0.5])),
        ("key must", lambda: sample(solver=ANCESTRAL)),
        ("rtol must", lambda: adaptive(rtol=1e-8)),
        ("clock at t_max must", lambda: adaptive(coordinate="sigma", schedule=FLOW)),
        ("save_at must", lambda: adaptive(save_at=0.5)),
        ("save_at must", lambda: adaptive(save_at=[0.2, 0.5])),
        ("save_at must", lambda: jax.jit(lambda: adaptive(save_at=[0.2, 0.5]))()),
        ("save_at must", lambda: adaptive(save_at=[0.5, 0.2], t_min=0.3)),
        ("noise_std must", lambda: annealed(noise_std=jnp.array([0.1, 1.0]))),
        (
            "noise_std must",
            lambda: annealed(noise_std=0.005, schedule=schedules.GeometricVE(sigma_min=0.01, sigma_max=50.0)),
        ),
        ("operator must", lambda: annealed(operator=operators.mask(jnp.zeros(2, bool)))),
        ("operator must", lambda: annealed(operator=jnp.tanh)),
        ("ts\\[-1\\] must", lambda: annealed(ts=jnp.linspace(1.0, 0.2, 9))),
        ("num_stages must", lambda: annealed(num_stages=2**40)),
        ("observation must have the 2", lambda: annealed((1.0, 2.0, 3.0))),
        ("observation must be finite", lambda: annealed((np.nan, 1.0))),
        ("observation must be possible", lambda: annealed((30.0, 0.0), 0.1, prior=POINT)),
        ("step_size must", lambda: samplers.langevin(KEY, lambda x: -x, X, jnp.ones(3), 2)),
        ("log_density must", lambda: samplers.metropolis_langevin(KEY, lambda x: each(x) - jnp.inf, X, 0.1, 2)),
        ("log_density must", lambda: samplers.metropolis_langevin(KEY, lambda x: x, X, 0.1, 2)),
        *(
            ("step_sizes must", lambda h=h: samplers.sgld(KEY, lambda key, x: x, X, h))
            for h in (0.1, jnp.ones(0), -jnp.ones(2))
        ),
        ("ts must", lambda: samplers.corrupt_denoise(KEY, NORMAL, COSINE, EULER, X, TS[::-1], 1)),
        ("solver must", lambda: samplers.translate(NORMAL, NORMAL, COSINE, ANCESTRAL, X, TS)),
        ("ts must", lambda: samplers.sdedit(KEY, NORMAL, COSINE, EULER, X, [0.1, 0.5])),
        ("solver must", lambda: repaint(OF_A_GRID)),
        ("mask must", lambda: repaint(mask=[0.5, 1.0])),
        *(
            ("solver must", lambda solver=solver: samplers.invert(same, COSINE, solver, X, TS))
            for solver in (ANCESTRAL, OF_A_GRID, few_steps(COSINE, 5)[0])
        ),
        ("ts must", lambda: samplers.invert(same, COSINE, EULER, X, TS[::-1])),
        *(
            ("solver must", lambda run=run, solver=solver: run(solver))
            for run in (log_probs, of_path)
            for solver in (EULER, solvers.edm_stochastic(4), NoStd())
        ),
        ("ts must", lambda: log_probs(ts=TS[::-1])),
        ("trajectory must", lambda: of_path(length=4)),
        ("solver must", lambda: twisted(EULER)),
        ("solver must", lambda: twisted(solvers.edm_stochastic(5))),
        ("ts must", lambda: twisted(ts=TS[::-1])),
        ("must return shape", lambda: twisted(log_likelihood=lambda x: x)),
        ("must return shape", lambda: twisted(twist=lambda x, t: scalar(x))),
        ("log_likelihood must", lambda: twisted(log_likelihood=lambda x: jnp.where(each(x) < -1, -jnp.inf, 0.0))),
        ("log_likelihood, with their gradients, must", lambda: twisted(log_likelihood=lambda x: jnp.nan * each(x))),
        ("log_likelihood or twist must", lambda: twisted(log_likelihood=lambda x: 1j * each(x))),
        ("guidance_scale must", lambda: twisted(guidance_scale=jnp.ones(3))),
        *(
            ("weights must", lambda weights=weights: product(weights))
            for weights in ([1.0, 2.0], [jnp.ones(3)], [np.nan])
        ),
        ("ts must", lambda: FEW.plan(FLOW, grids.uniform(5))),
        ("ts must", lambda: few_steps(FLOW, 8)[0].plan(FLOW, few_steps(FLOW, 8, guidance_scale=8.0)[1])),
        ("single steps", lambda: FEW.row(FLOW, GRID[:2], 0)),
        ("steps must", lambda: FEW.plan(FLOW, grids.uniform(3))),
        ("steps must", lambda: few_steps(FLOW, 7, guidance_scale=2.0)),
        ("guidance_scale must", lambda: samplers.recommended(FLOW, 8, guidance_scale=9.0)),
        ("t_max and t_min must", lambda: few_steps(FLOW, 5, t_max=0.5)),
    ]
)
