"""Stochastic solvers: their step on Gaussian data is affine, so mean and variance follow in closed form."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, densities, process, schedules, solvers

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
        return solver.step(KEY, solver.init(x), x, t, s, denoiser, schedule)[0][0, 0]

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
    x_s, _ = solvers.Ancestral().step(KEY, (), x_t, jnp.float32(0.8), jnp.float32(0.5), pair, schedule)
    kernel = process.posterior(schedule, 0.8, 0.5)
    expected = kernel.scales[0] * x_t + kernel.scales[1] * x0 + kernel.std * jax.random.normal(KEY, (1, 1))
    np.testing.assert_allclose(x_s, expected, rtol=1e-4)


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
def test_moments_converge_with_weak_order_one(solver, schedule):
    alpha, sigma = float(schedule.alpha(0.3)), float(schedule.sigma(0.3))
    true_mean, true_variance = alpha * MEAN, (alpha * STD) ** 2 + sigma**2
    errors = []
    for n in (32, 64):
        mean, variance = moments(solver, schedule, np.linspace(0.8, 0.3, n + 1))
        errors.append(abs(mean - true_mean) / STD + abs(variance - true_variance) / true_variance)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.3)


def test_eta_zero_is_euler():
    schedule, x = schedules.cosine(), jnp.array([[0.3], [1.2]])
    denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.array([MEAN]), std=STD), schedule)
    ts = solvers.grids.uniform(6)
    one = solvers.sample(KEY, denoiser, schedule, solvers.Ancestral(eta=0.0), x, ts)
    other = solvers.sample(None, denoiser, schedule, solvers.Euler(), x, ts)
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_ddim_with_eta_zero_draws_nothing():
    schedule, ts = schedules.cosine(), solvers.grids.uniform(3)
    denoiser = lambda x, t: process.Prediction(x, x)
    assert solvers.ddim(0.0) == solvers.Euler()
    assert isinstance(solvers.ddim(0.5), solvers.Ancestral)
    run = lambda x: solvers.sample(jax.random.key(0), denoiser, schedule, solvers.ddim(), x, ts)
    assert "random_bits" not in str(jax.make_jaxpr(run)(jnp.ones((2, 1))))
    run = lambda x: solvers.sample(jax.random.key(0), denoiser, schedule, solvers.ddim(1.0), x, ts)
    assert "random_bits" in str(jax.make_jaxpr(run)(jnp.ones((2, 1))))


@pytest.mark.parametrize("eta", [-0.1, 1.5])
def test_ddim_refuses(eta):
    with pytest.raises(ValueError, match=r"eta must be in \[0, 1\]"):
        solvers.ddim(eta)


@pytest.mark.parametrize("name", SCHEDULES)
def test_ancestral_takes_both_ends(name):
    schedule = SCHEDULES[name]
    denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.array([MEAN]), std=STD), schedule)
    x = process.sample_prior(KEY, schedule, jnp.zeros((4, 1)))
    ts = solvers.grids.uniform(4)
    assert bool(jnp.isfinite(solvers.sample(KEY, denoiser, schedule, solvers.Ancestral(), x, ts)).all())


@pytest.mark.slow
@pytest.mark.parametrize("solver", [solvers.Ancestral(), solvers.EulerMaruyama()])
def test_samples_of_the_ring_have_its_modes_and_width(solver):
    data, schedule = densities.ring(), schedules.linear_vp()
    denoiser = denoisers.exact_denoiser(data, schedule)
    ts = solvers.grids.uniform(400, 1.0, 1e-3)
    start = process.sample_prior(KEY, schedule, jnp.zeros((8000, 2)))
    x = jax.jit(solvers.sample)(jax.random.key(5), denoiser, schedule, solver, start, ts)
    share = np.bincount(np.asarray(data.responsibilities(x).argmax(-1)), minlength=8) / 8000
    np.testing.assert_allclose(share, 1 / 8, atol=4 * np.sqrt(1 / 8 * 7 / 8 / 8000))
    centres = np.asarray(data.components.mean)[np.asarray(data.responsibilities(x).argmax(-1))]
    assert float(np.std(np.asarray(x) - centres)) == pytest.approx(0.1, rel=0.15)
