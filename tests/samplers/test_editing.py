"""SDEdit, translation by inversion, and the normalised steps of DPS, against closed forms and numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import in_float64

from scorekit import denoisers, densities, samplers, schedules, solvers
from scorekit.samplers import sdedit, translate
from scorekit.solvers import DPS, grids

RNG = np.random.default_rng(0)
D = 3
FACTORS = [RNG.normal(size=(D, D)) for _ in range(2)]
ONE, OTHER = ((RNG.normal(size=D), f @ f.T / D + 0.1 * np.eye(D)) for f in FACTORS)
X = RNG.normal(size=(4, D))
SCHEDULE = schedules.cosine()


def exact(mean, covariance):
    return densities.gaussian(jnp.asarray(mean), covariance=jnp.asarray(covariance))


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values) @ vectors.T


@pytest.mark.slow
@in_float64
def test_a_bridge_between_gaussians_is_the_known_affine_map():
    """x -> m' + C'^(1/2) C^(-1/2) (x - m), through noise in which nothing is left of either."""
    (m, c), (m_, c_) = ONE, OTHER
    expected = m_ + (X - m) @ np.linalg.inv(root(c)) @ root(c_)
    source, target = (denoisers.exact_denoiser(exact(*data), SCHEDULE) for data in (ONE, OTHER))
    run = jax.jit(translate)
    errors = []
    for steps in (32, 64):
        found = run(source, target, SCHEDULE, solvers.Heun(), jnp.asarray(X), grids.uniform(steps))
        errors.append(np.abs(found - expected).max())
    assert errors[1] < 5e-3
    assert errors[1] < 0.4 * errors[0]  # second order
    there_and_back = run(source, source, SCHEDULE, solvers.Heun(), jnp.asarray(X), grids.uniform(64))
    np.testing.assert_allclose(there_and_back, X, atol=1e-2)


@in_float64
def test_a_bridge_that_turns_back_early_is_known_too():
    t = 0.5
    start, end = (1.0, 0.0), (float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t)))
    one, other = exact(*ONE), exact(*OTHER)
    expected = other.flow(one.flow(jnp.asarray(X), start, end), end, start)
    denoise = [denoisers.exact_denoiser(data, SCHEDULE) for data in (one, other)]
    found = jax.jit(translate)(*denoise, SCHEDULE, solvers.Heun(), jnp.asarray(X), grids.uniform(64, t))
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.slow
@in_float64
def test_sdedit_has_the_moments_of_its_gaussian():
    """The flow from t0 is affine, so that the result is normal around the image of alpha x."""
    t, data = 0.5, exact(*OTHER)
    level = (float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t)))
    n = 20_000
    x = jnp.broadcast_to(jnp.asarray(X[0]), (n, D))
    found = jax.jit(sdedit)(
        jax.random.key(0), denoisers.exact_denoiser(data, SCHEDULE), SCHEDULE, solvers.Heun(), x, grids.uniform(24, t)
    )
    centre = data.flow(level[0] * jnp.asarray(X[0]), level, (1.0, 0.0))
    linear = np.asarray(data.flow(jnp.eye(D), level, (1.0, 0.0)) - data.flow(jnp.zeros(D), level, (1.0, 0.0)))
    np.testing.assert_allclose(found.mean(0), centre, atol=0.02)
    np.testing.assert_allclose(np.cov(found.T), level[1] ** 2 * linear.T @ linear, atol=0.02)


@pytest.mark.slow
@in_float64
def test_sdedit_from_no_noise_changes_nothing_and_from_noise_alone_everything():
    denoiser = denoisers.exact_denoiser(exact(*ONE), SCHEDULE)
    run = jax.jit(lambda x, ts: sdedit(jax.random.key(0), denoiser, SCHEDULE, solvers.Ancestral(), x, ts))
    np.testing.assert_allclose(run(jnp.asarray(X), jnp.array([1e-6, 0.0])), X, atol=1e-4)
    ts = grids.uniform(8)
    np.testing.assert_allclose(run(jnp.asarray(X), ts), run(jnp.asarray(X) + 10.0, ts), atol=1e-9)


@in_float64
def test_dps_is_the_algorithm_of_the_paper():
    """DDPM steps and a normalised gradient, written out for Gaussian data, where the denoiser is a matrix."""
    mean, covariance = ONE
    matrix, y, zeta = RNG.normal(size=(2, D)), RNG.normal(size=(4, 2)), 0.3
    ts = np.asarray(grids.uniform(5, 0.9))
    solver = DPS(operator=lambda x: x @ matrix.T, observation=jnp.asarray(y), inner=solvers.Euler(), step_size=zeta)
    denoiser = denoisers.exact_denoiser(exact(mean, covariance), SCHEDULE)
    found = jax.jit(samplers.sample)(None, denoiser, SCHEDULE, solver, jnp.asarray(X), ts)
    x = X
    for t, s in itertools.pairwise(ts):
        (a, b), (a_, b_) = (tuple(float(f(u)) for f in (SCHEDULE.alpha, SCHEDULE.sigma)) for u in (t, s))
        jacobian = a * covariance @ np.linalg.inv(a**2 * covariance + b**2 * np.eye(D))
        x0 = mean + (x - a * mean) @ jacobian.T
        gap = y - x0 @ matrix.T
        gradient = -(gap / np.linalg.norm(gap, axis=1, keepdims=True)) @ matrix @ jacobian
        x = a_ * x0 + b_ * (x - a * x0) / b - zeta * gradient
    np.testing.assert_allclose(found, x, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_dps_takes_any_operator_solver_and_a_perfect_fit():
    denoiser = denoisers.exact_denoiser(exact(*ONE), SCHEDULE)
    x, y = jnp.asarray(X, jnp.float32), jnp.tanh(jnp.asarray(X, jnp.float32)[:, :1])
    ts, key = grids.uniform(40), jax.random.key(0)
    run = jax.jit(samplers.sample)
    make = lambda inner, size: DPS(operator=_squashed, observation=y, inner=inner, step_size=size)
    for inner in (solvers.Ancestral(), solvers.DPMSolverPP2M()):
        given = key if inner.stochastic else None
        plain = run(given, denoiser, SCHEDULE, inner, x, ts)
        zero = run(given, denoiser, SCHEDULE, make(inner, 0.0), x, ts)
        np.testing.assert_allclose(zero, plain, rtol=1e-4, atol=1e-5)
        guided = run(given, denoiser, SCHEDULE, make(inner, 0.1), x, ts)
        miss = lambda x: float(jnp.abs(_squashed(x) - y).mean())
        assert miss(guided) < 0.5 * miss(plain)
    perfect = DPS(operator=lambda x: 0 * x, observation=jnp.zeros_like(x), inner=solvers.Euler())
    assert bool(jnp.isfinite(samplers.sample(None, denoiser, SCHEDULE, perfect, x, grids.uniform(2))).all())


def _squashed(x):
    return jnp.tanh(x[:, :1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: translate(d, d, SCHEDULE, solvers.Ancestral(), jnp.ones((1, D)), grids.uniform(2)), "deterministic"),
        (lambda d: sdedit(jax.random.key(0), d, SCHEDULE, solvers.Euler(), jnp.ones((1, D)), [0.1, 0.5]), "decrease"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(denoisers.exact_denoiser(exact(*ONE), SCHEDULE))
