"""Stochastic solvers: their step on Gaussian data is affine, so mean and variance follow in closed form."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_table import step_once
from tables import SCHEDULES as TABLE
from tables import in_float64

from scorekit import denoisers, densities, process, samplers, schedules, solvers

KEY = jax.random.key(3)
MEAN, STD = 0.7, 0.4
SCHEDULES = {
    "cosine": schedules.cosine(),
    "linear_vp": schedules.linear_vp(),
    "sub_vp": schedules.sub_vp(),
    "ve": schedules.geometric_ve(0.02, 20.0),
    "flow": schedules.rectified_flow(),
}


@jax.jit
def probe(solver, schedule, t, s):
    """``(slope, offset, noise)`` of the affine map ``x_s = slope x + offset + noise z`` of one step."""
    denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.array([MEAN]), std=STD), schedule)

    def step(x):
        x = jnp.array([[x]])
        return step_once(solver, KEY, x, t, s, denoiser, schedule)[0, 0]

    z = jax.random.normal(KEY, (1, 1))[0, 0]
    offset = mean_of_step(solver, schedule, t, s, denoiser)(0.0)
    return step(1.0) - step(0.0), offset, (step(0.0) - offset) / z


def mean_of_step(solver, schedule, t, s, denoiser):
    """The mean of one step, from the posterior kernel or the reverse SDE."""
    prediction = lambda x: denoiser(jnp.array([[x]]), t)

    def mean(x):
        x0, eps = (value[0, 0] for value in prediction(x))
        if isinstance(solver, solvers.EulerMaruyama):
            f, g2 = process.drift(schedule, t), process.diffusion_squared(schedule, t)
            return x - (t - s) * (f * x + g2 * eps / schedule.sigma(t))
        kernel = process.posterior(schedule, t, s)
        fresh = (solver.eta * kernel.std) ** 2
        return schedule.alpha(s) * x0 + jnp.sqrt(schedule.sigma(s) ** 2 - fresh) * eps

    return mean


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ancestral_step_has_the_noise_of_the_posterior(name, eta):
    schedule = SCHEDULES[name]
    _, _, noise = probe(solvers.Ancestral(eta=eta), schedule, 0.8, 0.5)
    assert float(noise) == pytest.approx(eta * float(process.posterior(schedule, 0.8, 0.5).std), rel=1e-4)


@pytest.mark.parametrize("name", SCHEDULES)
def test_ancestral_with_eta_one_is_the_posterior_kernel(name):
    schedule = SCHEDULES[name]
    x_t, x0 = jnp.array([[0.9]]), jnp.array([[0.2]])
    eps = (x_t - schedule.alpha(0.8) * x0) / schedule.sigma(0.8)
    pair = lambda x, t: process.Prediction(x0, eps)
    x_s = step_once(solvers.Ancestral(), KEY, x_t, 0.8, 0.5, pair, schedule)
    kernel = process.posterior(schedule, 0.8, 0.5)
    expected = kernel.scales[0] * x_t + kernel.scales[1] * x0 + kernel.std * jax.random.normal(KEY, (1, 1))
    np.testing.assert_allclose(x_s, expected, rtol=1e-4)


X_T, X_0 = np.array([[0.9, -1.3]]), np.array([[0.2, 0.5]])


def one_step(solver, schedule, t, s):
    """A step from ``X_T`` whose clean estimate is ``X_0``, and the normals that it draws."""
    eps = (X_T - schedule.alpha(t) * X_0) / schedule.sigma(t)
    pair = lambda x, t: process.Prediction(jnp.asarray(X_0, x.dtype), jnp.asarray(eps, x.dtype))
    x_s = step_once(solver, KEY, jnp.asarray(X_T, jnp.float32), t, s, pair, schedule)
    return x_s, np.asarray(jax.random.normal(KEY, X_T.shape)), np.asarray(eps)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ancestral_is_equation_16_of_the_ddim_paper(eta):
    t, s = 0.8, 0.5
    bar_t, bar_s = math.cos(math.pi / 2 * t) ** 2, math.cos(math.pi / 2 * s) ** 2
    x_s, z, eps = one_step(solvers.Ancestral(eta=eta), schedules.cosine(), t, s)
    fresh = eta * math.sqrt((1 - bar_s) / (1 - bar_t)) * math.sqrt(1 - bar_t / bar_s)
    expected = math.sqrt(bar_s) * X_0 + math.sqrt(1 - bar_s - fresh**2) * eps + fresh * z
    np.testing.assert_allclose(x_s, expected, rtol=1e-5)


def test_euler_maruyama_is_equation_6_of_the_sde_paper():
    t, s, beta = 0.6, 0.5, 0.1 + 0.6 * 19.9
    x_s, z, eps = one_step(solvers.EulerMaruyama(), schedules.linear_vp(), t, s)
    score = -eps / math.sqrt(1 - math.exp(-(0.1 * t + 19.9 * t**2 / 2)))
    expected = X_T - (-0.5 * beta * X_T - beta * score) * (t - s) + math.sqrt(beta * (t - s)) * z
    np.testing.assert_allclose(x_s, expected, rtol=1e-5)


def test_euler_maruyama_of_the_exploding_schedule():
    t, s, low, high = 0.6, 0.5, 0.05, 5.0
    x_s, z, eps = one_step(solvers.EulerMaruyama(), schedules.geometric_ve(low, high), t, s)
    sigma = low * (high / low) ** t
    rate = 2 * sigma**2 * math.log(high / low)  # d sigma^2 / dt
    np.testing.assert_allclose(x_s, X_T - rate * eps / sigma * (t - s) + math.sqrt(rate * (t - s)) * z, rtol=1e-5)


def moments(solver, schedule, ts):
    """Mean and variance at the end, by the recursion of the affine steps, from the true marginal at the start."""
    a, b = float(schedule.alpha(ts[0])), float(schedule.sigma(ts[0]))
    mean, variance = a * MEAN, (a * STD) ** 2 + b**2
    for t, s in itertools.pairwise(ts):
        slope, offset, noise = map(float, probe(solver, schedule, float(t), float(s)))
        mean, variance = slope * mean + offset, slope**2 * variance + noise**2
    return mean, variance


@pytest.mark.parametrize("solver", [solvers.Ancestral(), solvers.Ancestral(eta=0.5), solvers.EulerMaruyama()])
@pytest.mark.parametrize("schedule", [schedules.linear_vp(), schedules.geometric_ve(0.05, 5.0)], ids=["vp", "ve"])
def test_moments_converge_at_weak_order_one(solver, schedule):
    alpha, sigma = float(schedule.alpha(0.3)), float(schedule.sigma(0.3))
    true_mean, true_variance = alpha * MEAN, (alpha * STD) ** 2 + sigma**2
    errors = []
    for n in (32, 64):
        mean, variance = moments(solver, schedule, np.linspace(0.8, 0.3, n + 1))
        errors.append(abs(mean - true_mean) / STD + abs(variance - true_variance) / true_variance)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.3)


@pytest.mark.slow
def test_ancestral_with_eta_zero_is_euler():
    schedule, x = schedules.cosine(), jnp.array([[0.3], [1.2]])
    denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.array([MEAN]), std=STD), schedule)
    ts = solvers.grids.uniform(6)
    one = samplers.sample(KEY, denoiser, schedule, solvers.Ancestral(eta=0.0), x, ts)
    other = samplers.sample(None, denoiser, schedule, solvers.Euler(), x, ts)
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_ddim_with_eta_zero_draws_nothing():
    schedule, ts = schedules.cosine(), solvers.grids.uniform(3)
    denoiser = lambda x, t: process.Prediction(x, x)
    assert solvers.ddim(0.0) == solvers.Euler()
    assert isinstance(solvers.ddim(0.5), solvers.Ancestral)
    run = lambda x: samplers.sample(jax.random.key(0), denoiser, schedule, solvers.ddim(), x, ts)
    assert "random_bits" not in str(jax.make_jaxpr(run)(jnp.ones((2, 1))))
    assert samplers.sample(None, denoiser, schedule, solvers.ddim(0.0), jnp.ones((2, 1)), ts).shape == (2, 1)
    run = lambda x: samplers.sample(jax.random.key(0), denoiser, schedule, solvers.ddim(1.0), x, ts)
    assert "random_bits" in str(jax.make_jaxpr(run)(jnp.ones((2, 1))))


# ---- a given clean value, in float64 -------------------------------------------------------------------------------

X0 = -0.3
PAIRS = [(0.9, 0.6), (0.6, 0.55), (0.3, 0.02)]


def affine(solver, schedule, t, s, x0=X0):
    """``(slope, offset, noise)`` of one step with a given clean value, by evaluating the step."""

    def denoiser(x, t):
        return process.Prediction(jnp.full_like(x, x0), (x - schedule.alpha(t) * x0) / schedule.sigma(t))

    def step(x, key):
        return float(step_once(solver, key, jnp.array([float(x)]), t, s, denoiser, schedule)[0])

    keys = jax.random.split(KEY)
    z = [float(jax.random.normal(key, (1,))[0]) for key in keys]
    noise = (step(0, keys[0]) - step(0, keys[1])) / (z[0] - z[1])
    return step(1, keys[0]) - step(0, keys[0]), step(0, keys[0]) - noise * z[0], noise


def levels(schedule, *ts):
    return [(float(schedule.alpha(t)), float(schedule.sigma(t))) for t in ts]


@pytest.mark.parametrize(("t", "s"), PAIRS)
@in_float64
def test_ancestral_is_ddpm_in_betas(t, s):
    """Ho et al. 2020, eq. 6-7: beta_t and alpha-bar of one step of the chain."""
    schedule = schedules.linear_vp()
    (alpha_t, _), (alpha_s, _) = levels(schedule, t, s)
    bar_t, bar_s = alpha_t**2, alpha_s**2
    beta = 1 - bar_t / bar_s
    slope = np.sqrt(1 - beta) * (1 - bar_s) / (1 - bar_t)
    offset = np.sqrt(bar_s) * beta / (1 - bar_t) * X0
    variance = (1 - bar_s) / (1 - bar_t) * beta
    np.testing.assert_allclose(
        affine(solvers.Ancestral(), schedule, t, s), (slope, offset, np.sqrt(variance)), rtol=1e-9
    )


@pytest.mark.parametrize(("t", "s"), PAIRS)
@in_float64
def test_ancestral_is_smld_in_sigmas(t, s):
    """Song et al. 2021, eq. 47: annealed variances, with the score of a given clean value."""
    schedule = schedules.geometric_ve(0.02, 20.0)
    (_, a), (_, b) = levels(schedule, t, s)
    expected = 1 - (a**2 - b**2) / a**2, (a**2 - b**2) / a**2 * X0, np.sqrt(b**2 * (a**2 - b**2) / a**2)
    np.testing.assert_allclose(affine(solvers.Ancestral(), schedule, t, s), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["sub_vp", "edm", "sigmoid", "laplace", "shifted_flow", "ddpm_table", "learned"])
@in_float64
def test_ancestral_keeps_the_marginals_for_every_eta_and_schedule(name):
    """From ``N(alpha_t x0, sigma_t^2)`` to ``N(alpha_s x0, sigma_s^2)`` exactly, in one step of any size."""
    schedule = TABLE[name].make()
    for t, s in [(1.0, 0.4), (0.6, 0.55), (0.3, 0.0)]:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(schedule, t, s)
        for eta in (0.0, 0.5, 1.0):
            slope, offset, noise = affine(solvers.Ancestral(eta=eta), schedule, t, s)
            np.testing.assert_allclose(slope * alpha_t * X0 + offset, alpha_s * X0, rtol=1e-9)
            np.testing.assert_allclose(slope**2 * sigma_t**2 + noise**2, sigma_s**2, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", SCHEDULES)
def test_ancestral_is_finite_at_both_ends(name):
    schedule = SCHEDULES[name]
    denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.array([MEAN]), std=STD), schedule)
    x = process.sample_prior(KEY, schedule, jnp.zeros((4, 1)))
    ts = solvers.grids.uniform(4)
    assert bool(jnp.isfinite(samplers.sample(KEY, denoiser, schedule, solvers.Ancestral(), x, ts)).all())


@pytest.mark.slow
@pytest.mark.parametrize("solver", [solvers.Ancestral(), solvers.EulerMaruyama()])
def test_samples_of_the_ring_have_its_modes_and_width(solver):
    data, schedule = densities.ring(), schedules.linear_vp()
    denoiser = denoisers.exact_denoiser(data, schedule)
    ts = solvers.grids.uniform(400, 1.0, 1e-3)
    start = process.sample_prior(KEY, schedule, jnp.zeros((8000, 2)))
    x = jax.jit(samplers.sample)(jax.random.key(5), denoiser, schedule, solver, start, ts)
    share = np.bincount(np.asarray(data.responsibilities(x).argmax(-1)), minlength=8) / 8000
    np.testing.assert_allclose(share, 1 / 8, atol=4 * np.sqrt(1 / 8 * 7 / 8 / 8000))
    centres = np.asarray(data.components.mean)[np.asarray(data.responsibilities(x).argmax(-1))]
    assert float(np.std(np.asarray(x) - centres)) == pytest.approx(0.1, rel=0.15)
