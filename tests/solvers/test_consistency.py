"""Multistep sampling of consistency models: exact for an exact student, at any number of steps."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import moved
from solver_table import step_once
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, flow_maps, samplers, schedules, solvers
from scorekit.process import transition
from scorekit.solvers import MultistepConsistency

MEAN, STD = 0.5, 0.7


def student(schedule, t_min):
    """The exact consistency function of Gaussian data, as a denoiser."""
    data = densities.gaussian(jnp.array([MEAN]), std=STD)
    return lambda x, t: flow_maps.chord(schedule, x, moved(data, schedule, x, t, t_min), t, t_min)


def moments(schedule, ts, t_min):
    """Mean and variance of the result, by following the coefficients of every step from ``N(0, sigma(1)^2)``."""
    solver, mean, variance = MultistepConsistency(t_min=t_min), jnp.zeros((1, 1)), schedule.sigma(ts[0]) ** 2
    for t, s in itertools.pairwise(ts):
        d = student(schedule, t_min)
        row = solver.row(schedule, jnp.array([s, t]), 0)
        step = lambda x, row=row, d=d: row.x0 * d(x, row.t).x0 + row.eps * d(x, row.t).eps
        slope = step(mean + 1.0) - step(mean)  # it is linear
        mean, variance = step(mean), slope**2 * variance + row.std**2
    return float(mean[0, 0]), float(jnp.sqrt(variance)[0, 0])


@pytest.mark.parametrize("name", ["cosine", "edm", "sub_vp"])
@pytest.mark.parametrize("steps", [1, 3])
@in_float64
def test_exact_consistency_function_samples_the_data_in_any_number_of_steps(name, steps):
    schedule, t_min = SCHEDULES[name].make(), 0.0
    ts = jnp.linspace(1.0, t_min, steps + 1)
    mean, std = moments(schedule, ts, t_min)
    end = np.hypot(schedule.alpha(0.0) * STD, schedule.sigma(0.0))  # VE and EDM leave a little noise
    left = schedule.alpha(1.0) * MEAN / np.hypot(schedule.alpha(1.0) * STD, schedule.sigma(1.0))  # prior is not p_1
    np.testing.assert_allclose(std, end, rtol=1e-3)
    np.testing.assert_allclose(mean, MEAN, atol=2.0 * left + 1e-9)


@pytest.mark.parametrize("t_min", [0.0, 0.1])
@in_float64
def test_step_is_the_forward_kernel_from_the_end_of_the_path(t_min):
    schedule = schedules.linear_vp()
    d = denoisers.denoiser_from_network(lambda x, t: jnp.tanh(x), schedule)
    solver, x, key = MultistepConsistency(t_min=t_min), jnp.asarray([[0.3], [-2.0]]), jax.random.key(0)
    f = flow_maps.consistency_function(d, schedule, t_min)(x, jnp.array(0.8))
    kernel = transition(schedule, 0.5, t_min)
    got = step_once(solver, key, x, 0.8, 0.5, d, schedule)
    noise = jax.random.normal(key, x.shape)
    np.testing.assert_allclose(got, kernel.scales[0] * f + kernel.std * noise, rtol=1e-6)
    last = step_once(solver, key, x, 0.8, t_min, d, schedule)
    np.testing.assert_allclose(last, f, rtol=1e-9, atol=1e-12)


def test_sampling_needs_a_key_and_has_finite_gradients():
    schedule, x = schedules.cosine(), jnp.ones((2, 1))
    d = denoisers.denoiser_from_network(lambda x, t: 0.5 * x, schedule)
    ts = solvers.grids.uniform(3)
    with pytest.raises(ValueError, match="key must be a PRNG key for the stochastic solver MultistepConsistency"):
        samplers.sample(d, schedule, MultistepConsistency(), x, ts)
    run = lambda x, t_min: samplers.sample(
        d, schedule, MultistepConsistency(t_min=t_min), x, ts, key=jax.random.key(0)
    ).sum()
    gradient = jax.jit(jax.grad(run, argnums=(0, 1)))(x, 0.0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    noise = samplers.sample(d, schedule, MultistepConsistency(), x, ts, key=jax.random.key(1))
    assert not np.allclose(noise[0], noise[1])


def test_denoiser_of_a_diffusion_model_loses_variance():
    """With the denoiser of a diffusion model the variance falls short, however many steps: hence order 0."""
    schedule, ts = schedules.cosine(), solvers.grids.uniform(64)
    data = densities.gaussian(jnp.array([MEAN]), std=STD)
    d = denoisers.exact_denoiser(data, schedule)
    x = jax.random.normal(jax.random.key(0), (4000, 1))
    out = jax.jit(samplers.sample)(d, schedule, MultistepConsistency(), x, ts, key=jax.random.key(1))
    assert float(out.std()) < 0.8 * STD
    assert MultistepConsistency().order == 0
