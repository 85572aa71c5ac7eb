"""Stochastic solvers: a step towards a given clean value is affine, so that it is known from its coefficients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import level
from solver_table import step_once
from tables import SCHEDULES, in_float64

from scorekit import denoisers, flow_maps, process, schedules, solvers

KEY = jax.random.key(3)


X0 = -0.3
PAIRS = [(0.9, 0.6), (0.6, 0.55), (0.3, 0.02)]


def affine(solver, schedule, t, s):
    """``(slope, offset, noise)`` of one step with the clean value ``X0``, by evaluating the step."""

    def denoiser(x, t):
        return process.Prediction(jnp.full_like(x, X0), (x - schedule.alpha(t) * X0) / schedule.sigma(t))

    def step(x, key):
        return float(step_once(solver, key, jnp.array([float(x)]), t, s, denoiser, schedule)[0])

    keys = jax.random.split(KEY)
    z = [float(jax.random.normal(key, (1,))[0]) for key in keys]
    noise = (step(0, keys[0]) - step(0, keys[1])) / (z[0] - z[1])
    return step(1, keys[0]) - step(0, keys[0]), step(0, keys[0]) - noise * z[0], noise


def ddpm_predictor(x, eps, z, before, after, dt):
    """Song et al. 2021, algorithm 3 (predictor)."""
    beta = 1 - (before[0] / after[0]) ** 2
    return (2 - np.sqrt(1 - beta)) * x - beta * eps / before[1] + np.sqrt(beta) * z


def reverse_sde(drift, rate):
    """Song et al. 2021, eq. 6, with the coefficients of the forward process as functions of t and its noise."""

    def step(x, eps, z, before, after, dt):
        f, g2 = drift(dt[0]), rate(dt[0], before[1])
        return x - (f * x + g2 * eps / before[1]) * dt[1] + np.sqrt(g2 * dt[1]) * z

    return step


BETA = lambda t: 0.1 + t * 19.9
STEPS = {
    "reverse_diffusion": (solvers.ReverseDiffusion(), schedules.LinearVP, ddpm_predictor),
    "euler_maruyama": (
        solvers.EulerMaruyama(),
        schedules.LinearVP,
        reverse_sde(lambda t: -0.5 * BETA(t), lambda t, sigma: BETA(t)),
    ),
    "euler_maruyama of an exploding schedule": (
        solvers.EulerMaruyama(),
        lambda: schedules.GeometricVE(sigma_min=0.05, sigma_max=5.0),
        reverse_sde(lambda t: 0.0, lambda t, sigma: 2 * sigma**2 * np.log(100.0)),
    ),
}


@pytest.mark.parametrize(("t", "s"), PAIRS)
@pytest.mark.parametrize("name", STEPS)
@in_float64
def test_steps_are_those_of_the_papers(name, t, s):
    solver, make, published = STEPS[name]
    schedule = make()
    before, after = (tuple(map(float, level(schedule, u))) for u in (t, s))
    step = lambda x, z: published(x, (x - before[0] * X0) / before[1], z, before, after, (t, t - s))
    expected = step(1, 0) - step(0, 0), step(0, 0), step(0, 1) - step(0, 0)
    np.testing.assert_allclose(affine(solver, schedule, t, s), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["cosine", "geometric_ve", "rectified_flow", "sub_vp", "ddpm_table"])
@in_float64
def test_ancestral_has_the_noise_of_the_posterior_and_keeps_the_marginals_for_every_eta(name):
    """From ``N(alpha_t x0, sigma_t^2)`` to ``N(alpha_s x0, sigma_s^2)`` exactly, in one step of any size."""
    schedule = SCHEDULES[name].make()
    for t, s in [(1.0, 0.4), (0.8, 0.5), (0.6, 0.55), (0.3, 0.0)]:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = level(schedule, t), level(schedule, s)
        kernel = process.posterior(schedule, t, s)
        for eta in (0.0, 0.3, 0.5, 1.0):
            slope, offset, noise = affine(solvers.Ancestral(eta=eta), schedule, t, s)
            np.testing.assert_allclose(slope * alpha_t * X0 + offset, alpha_s * X0, rtol=1e-9)
            np.testing.assert_allclose(slope**2 * sigma_t**2 + noise**2, sigma_s**2, rtol=1e-9, atol=1e-14)
            np.testing.assert_allclose(noise, eta * kernel.std, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose([slope, offset], [kernel.scales[0], kernel.scales[1] * X0], rtol=1e-9, atol=1e-12)


def test_ddim_with_eta_zero_is_euler_and_with_more_ancestral():
    assert solvers.ddim(0.0) == solvers.ddim() == solvers.Euler()
    assert isinstance(solvers.ddim(0.5), solvers.Ancestral)
    assert solvers.ddim(1.0).stochastic


@pytest.mark.parametrize("t_min", [0.0, 0.1])
@in_float64
def test_multistep_consistency_is_the_forward_kernel_from_the_end_of_the_path(t_min):
    schedule = schedules.LinearVP()
    d = denoisers.denoiser_from_network(lambda x, t: jnp.tanh(x), schedule)
    solver, x, key = solvers.MultistepConsistency(t_min=t_min), jnp.asarray([[0.3], [-2.0]]), jax.random.key(0)
    f = flow_maps.consistency_function(d, schedule, t_min)(x, jnp.array(0.8))
    kernel = process.transition(schedule, 0.5, t_min)
    got = step_once(solver, key, x, 0.8, 0.5, d, schedule)
    noise = jax.random.normal(key, x.shape)
    np.testing.assert_allclose(got, kernel.scales[0] * f + kernel.std * noise, rtol=1e-6)
    last = step_once(solver, key, x, 0.8, t_min, d, schedule)
    np.testing.assert_allclose(last, f, rtol=1e-9, atol=1e-12)
