"""Tilted densities: the closed form against dense grids and weights, the quadrature against the closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from problems import COVARIANCE
from tables import in_float64

from scorekit import denoisers, densities, schedules
from scorekit.densities import quadratic_tilt, tilt

LEVELS = [(1.0, 0.0), (1.0, 1e-5), (0.8, 0.6), (0.05, 1.0), (0.0, 1.0), (1.0, 50.0)]
INDEFINITE, SLOPE = np.array([[0.9, 0.5], [0.5, -0.3]]), np.array([0.7, -0.4])


def problem(dim):
    """Two components of low rank, and a quadratic reward of the last and the first coordinate."""
    rng = np.random.default_rng(dim)
    draw = lambda: densities.gaussian(rng.normal(size=dim), std=0.5, factor=0.2 * rng.normal(size=(dim, dim // 2)))
    linear, quadratic = np.zeros(dim), np.zeros((dim, dim))
    at = np.array([dim - 1, 0])[: min(dim, 2)]
    linear[at], quadratic[np.ix_(at, at)] = SLOPE[: len(at)], INDEFINITE[: len(at), : len(at)]
    reward = lambda a: a @ SLOPE[: len(at)] - 0.5 * jnp.sum(a @ INDEFINITE[: len(at), : len(at)] * a, -1)
    return densities.mixture([1, 2], [draw(), draw()]), linear, quadratic, tuple(at.tolist()), reward


def moments(points, log_weights):
    """log of the sum of the weights, the mean and the covariance."""
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    mean = weights @ points / weights.sum()
    return np.log(weights.sum()) + top, mean, (points - mean).T @ ((points - mean) * weights[:, None]) / weights.sum()


def plane(reach, n):
    line = np.linspace(-reach, reach, n)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2), 2 * np.log(line[1] - line[0])


def test_a_gaussian_tilted_in_closed_form_is_the_grid():
    p = densities.gaussian(jnp.array([0.3, -0.2]), covariance=COVARIANCE)
    tilted, log_z = quadratic_tilt(p, SLOPE, INDEFINITE)
    x, log_cell = plane(9.0, 501)
    log_weights = np.asarray(p.log_density(x)) + x @ SLOPE - 0.5 * np.sum(x @ INDEFINITE * x, -1) + log_cell
    expected = moments(x, log_weights)
    for each, exact in zip((log_z, tilted.mean, tilted.covariance()), expected, strict=True):
        np.testing.assert_allclose(each, exact, atol=2e-5)
    np.testing.assert_allclose(tilted.log_density(x[::999]), (log_weights - log_z - log_cell)[::999], atol=2e-4)


def test_a_mixture_of_16_dimensions_tilted_in_closed_form_has_the_weighted_moments():
    p, linear, quadratic, *_ = problem(16)
    tilted, log_z = quadratic_tilt(p, linear, quadratic)
    x = np.asarray(p.sample(jax.random.key(0), (200_000,)))
    weights = np.exp(x @ linear - 0.5 * np.sum(x @ quadratic * x, -1))
    error = weights.std() / np.sqrt(len(x))
    assert abs(weights.mean() - np.exp(log_z)) < 4 * error < 0.03 * weights.mean()
    mean = jnp.exp(tilted.log_weights) @ tilted.components.mean
    residual = weights[:, None] * (x - np.asarray(mean)) / weights.mean()
    np.testing.assert_array_less(np.abs(residual.mean(0)), 4 * residual.std(0) / np.sqrt(len(x)))
    linear_only = quadratic_tilt(p, linear).density.components
    np.testing.assert_allclose(
        jax.vmap(lambda g: g.covariance())(linear_only)[0], p.component(0).covariance(), atol=1e-5
    )


@pytest.mark.parametrize(("dim", "wide"), [(1, False), (2, True), (16, False), (16, True)])
def test_the_quadrature_of_a_quadratic_reward_is_the_closed_form(dim, wide):
    with jax.enable_x64(wide):
        p, linear, quadratic, at, reward = problem(dim)
        exact, log_z = quadratic_tilt(p, linear, quadratic)
        tilted = tilt(p, reward, at)
        x = p.sample(jax.random.key(1), (3, 4))
        tolerance = {"rtol": 1e-9, "atol": 1e-9} if wide else {"rtol": 1e-5, "atol": 1e-4}
        np.testing.assert_allclose(tilted.log_normalizer, log_z, **tolerance)
        np.testing.assert_allclose(tilted.log_density(x), exact.log_density(x), **tolerance)
        predict = jax.jit(lambda law, x, alpha, sigma: law.predict(x, alpha, sigma))
        for alpha, sigma in LEVELS:
            x_t = alpha * x + sigma * jax.random.normal(jax.random.key(2), x.shape)
            for each, other in zip(predict(tilted, x_t, alpha, sigma), predict(exact, x_t, alpha, sigma), strict=True):
                np.testing.assert_allclose(each, other, **tolerance, err_msg=f"{alpha} {sigma}")


def rough(a):
    return jnp.where(a[..., 0] > 0.255, 2.0, 0.0) - 1.5 * jnp.abs(a[..., 1])


@in_float64
def test_a_reward_with_a_jump_and_a_kink_is_a_dense_grid():
    p, alpha, sigma, x_t = problem(2)[0], 0.8, 0.6, jnp.array([0.4, 0.1])
    tilted = tilt(p, rough, num_nodes=501)
    x, log_cell = plane(6.0, 1201)
    log_weights = np.asarray(p.log_density(x) + rough(jnp.asarray(x))) + log_cell
    log_z, mean, covariance = moments(x, log_weights)
    np.testing.assert_allclose(tilted.log_normalizer, log_z, atol=5e-3)
    likelihood = -0.5 * np.sum((np.asarray(x_t) - alpha * x) ** 2, -1) / sigma**2
    x0 = moments(x, log_weights + likelihood)[1]
    prediction = denoisers.exact_denoiser(tilted, schedules.Cosine())(
        x_t[None], jnp.full(1, np.arctan2(0.6, 0.8) * 2 / np.pi)
    )
    np.testing.assert_allclose(prediction.x0[0], x0, atol=5e-3)
    np.testing.assert_allclose(prediction.eps[0], (x_t - alpha * x0) / sigma, atol=7e-3)
    draws = np.asarray(jax.jit(lambda key: tilt(p, rough).sample(key, (100, 400)))(jax.random.key(3))).reshape(-1, 2)
    np.testing.assert_allclose(draws.mean(0), mean, atol=4 * draws.std() / 200 + 5e-3)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.02)


def test_samples_of_16_dimensions_have_the_moments_of_the_closed_form():
    p, linear, quadratic, at, reward = problem(16)
    exact = quadratic_tilt(p, linear, quadratic).density
    one, other = (np.asarray(law.sample(jax.random.key(4), (40_000,))) for law in (tilt(p, reward, at), exact))
    error = np.sqrt(2) * other.std(0) / 200
    np.testing.assert_array_less(np.abs(one.mean(0) - other.mean(0)), 4 * error)
    np.testing.assert_allclose(np.cov(one.T), np.cov(other.T), atol=0.05)


def test_traced_rewards_that_are_not_allowed_give_nan():
    p = densities.gaussian(jnp.zeros(1), std=1.0)

    @jax.jit
    def law_and_draws(value, steep):
        law = tilt(p, lambda a: value + steep * a[..., 0], (0,))
        return law.log_normalizer, law.sample(jax.random.key(0), (2,))

    for value, steep in ((jnp.nan, 0.0), (-jnp.inf, 0.0), (jnp.inf, 0.0), (0.0, 9.0)):
        assert all(np.all(np.isnan(leaf)) for leaf in law_and_draws(value, steep))
    tilted = jax.jit(lambda a: quadratic_tilt(p, jnp.zeros(1), a))(-jnp.ones((1, 1)))
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(tilted))


NORMAL = densities.gaussian(jnp.zeros(2), std=1.0)
test_errors_name_the_argument = raising(
    {
        "density must": lambda: tilt(densities.gaussian_mirage(2), rough),
        "linear must": lambda: quadratic_tilt(NORMAL, np.zeros(3)),
        "quadratic must be symmetric": lambda: quadratic_tilt(NORMAL, np.zeros(2), np.eye(2, k=1)),
        "quadratic: the least eigenvalue .* > 0": lambda: quadratic_tilt(NORMAL, np.zeros(2), -np.eye(2)),
        "coordinates must hold": lambda: tilt(NORMAL, rough, (0, 2)),
        "coordinates must be one or two": lambda: tilt(NORMAL, rough, (0, 0)),
        "result of reward must have": lambda: tilt(NORMAL, lambda a: a),
        "result of reward must hold real": lambda: tilt(NORMAL, lambda a: 1j * a[..., 0]),
        r"log E\[exp\(reward\)\] must be finite": lambda: tilt(NORMAL, lambda a: jnp.log(a[..., 0])),
        "reward: the fraction .* edge": lambda: tilt(NORMAL, lambda a: 6.0 * a[..., 0]),
    }
)
