"""Exact distributions against scipy, dense linear algebra and Tweedie's formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import samples_agree
from scipy import stats
from tables import B, D, in_float64

from scorekit import densities

RNG = np.random.default_rng(0)
MEAN, OTHER = RNG.normal(size=D), RNG.normal(size=D)
FACTOR = RNG.normal(size=(D, 2))
ROOT = RNG.normal(size=(D, D))
FULL = ROOT @ ROOT.T + 0.1 * np.eye(D)
X = 2 * RNG.normal(size=(B, D))
LEVELS = [(1.0, 1e-4), (0.8, 0.6), (0.1, 0.995), (0.0, 1.0), (1.0, 30.0), (0.3, 0.2)]

GAUSSIANS = {
    "round": (lambda: densities.gaussian(MEAN, std=0.7), 0.49 * np.eye(D)),
    "full": (lambda: densities.gaussian(MEAN, covariance=FULL), FULL),
    "low_rank": (lambda: densities.gaussian(MEAN, factor=FACTOR, std=0.3), FACTOR @ FACTOR.T + 0.09 * np.eye(D)),
}


def small_mixture():
    return densities.mixture(
        [1, 2, 3],
        [
            densities.gaussian(MEAN, factor=FACTOR, std=0.5),
            densities.gaussian(OTHER, factor=0.2 * FACTOR[::-1], std=0.3),
            densities.gaussian(-MEAN, factor=FACTOR, std=0.4),
        ],
    )


each_gaussian = pytest.mark.parametrize("name", GAUSSIANS)
each_density = pytest.mark.parametrize("make", [*(g[0] for g in GAUSSIANS.values()), small_mixture])


@functools.cache
def at_level(make):
    """``(x, alpha, sigma) -> (marginal, its covariance, predictions, score)`` of a density, compiled for all levels."""

    @jax.jit
    def run(x, alpha, sigma):
        density = make()
        marginal = density.marginal(alpha, sigma)
        score = jax.grad(lambda x: jnp.sum(marginal.log_density(x)))(x)
        covariance = None if isinstance(density, densities.Mixture) else marginal.covariance()
        return marginal, covariance, density.predict(x, alpha, sigma), score

    return run


@each_gaussian
@in_float64
def test_log_density_entropy_and_covariance_agree_with_scipy(name):
    make, covariance = GAUSSIANS[name]
    oracle = stats.multivariate_normal(MEAN, covariance)

    @jax.jit
    def run(x):
        density = make()
        values = [density.log_density(x) for x in (x, x[0], x.reshape(1, B, D))]
        return density.covariance(), density.entropy(), values

    found, entropy, (log_density, one, block) = run(X)
    np.testing.assert_allclose(found, covariance, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(log_density, oracle.logpdf(X), rtol=1e-10)
    np.testing.assert_allclose(entropy, oracle.entropy(), rtol=1e-10)
    assert one.shape == ()
    assert block.shape == (1, B)


@each_gaussian
def test_samples_have_the_mean_and_covariance(name):
    make, covariance = GAUSSIANS[name]
    n = 40_000
    x, one = jax.jit(lambda key: (make().sample(key, (n // 4, 4)), make().sample(key)))(jax.random.key(0))
    x = np.reshape(x, (n, D))
    samples_agree(x, MEAN, covariance)
    assert one.shape == (D,)


@each_gaussian
@pytest.mark.parametrize("level", LEVELS)
@in_float64
def test_marginal_and_predictions_are_dense_linear_algebra(name, level):
    (make, covariance), (alpha, sigma) = GAUSSIANS[name], level
    marginal, found, prediction, _ = at_level(make)(X, alpha, sigma)
    k = alpha**2 * covariance + sigma**2 * np.eye(D)
    np.testing.assert_allclose(found, k, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(marginal.mean, alpha * MEAN)
    centred = X - alpha * MEAN
    np.testing.assert_allclose(prediction.x0, MEAN + alpha * np.linalg.solve(k, centred.T).T @ covariance, rtol=1e-7)
    np.testing.assert_allclose(prediction.eps, sigma * np.linalg.solve(k, centred.T).T, rtol=1e-7, atol=1e-12)
    x0, eps = map(np.asarray, prediction)
    np.testing.assert_allclose(alpha * x0 + sigma * eps, X, rtol=1e-9)


@each_density
@pytest.mark.parametrize("level", LEVELS)
@in_float64
def test_predictions_satisfy_tweedies_formula(make, level):
    alpha, sigma = level
    _, _, prediction, score = jax.device_get(at_level(make)(X, alpha, sigma))
    np.testing.assert_allclose(prediction.eps, -sigma * score, rtol=1e-7, atol=1e-9)
    if alpha > 0:
        np.testing.assert_allclose(prediction.x0, (X + sigma**2 * score) / alpha, rtol=1e-6, atol=1e-8)
    else:
        mean = at_level(make)(0 * X, 0.0, 1.0)[2].x0
        np.testing.assert_allclose(prediction.x0, mean, rtol=1e-9)


@each_density
def test_predictions_are_precise_in_float32_at_both_ends(make):
    x = np.float32(X)
    for alpha, sigma in [(1.0, 0.0), (1.0, 1e-4), (0.0, 1.0)]:
        with jax.enable_x64(True):
            exact = jax.device_get(at_level(make)(np.float64(x), alpha, sigma)[2])
        for value, truth in zip(at_level(make)(x, alpha, sigma)[2], exact, strict=True):
            assert value.dtype == jnp.float32
            np.testing.assert_allclose(value, truth, rtol=1e-4, atol=1e-5 * (1 + np.abs(truth).max()))


def test_full_covariances_keep_directions_of_very_different_size():
    """Noise far above two variances and far below the others."""
    covariance = np.diag([1e-6, 1e-6, 1e4, 1e4])
    axis = densities.gaussian(jnp.zeros(D), covariance=covariance)
    x = jnp.ones(D)
    np.testing.assert_allclose(axis.predict(x, 1.0, 1.0).x0, [1e-6, 1e-6, 1.0, 1.0], rtol=1e-3)
    np.testing.assert_allclose(axis.predict(x, 1.0, 1.0).eps, [1.0, 1.0, 1e-4, 1e-4], rtol=1e-3)


@each_gaussian
@in_float64
def test_flow_pushes_marginal_to_marginal_and_solves_its_equation(name):
    start, end = (0.8, 0.6), (0.3, 2.0)

    @jax.jit
    def run(x, rates):
        density = GAUSSIANS[name][0]()
        y = density.flow(x, start, end)
        jacobian = jax.vmap(jax.jacfwd(lambda x: density.flow(x, start, end)))(x)
        log_densities = density.marginal(*start).log_density(x), density.marginal(*end).log_density(y)
        _, velocity = jax.jvp(lambda a, s: density.flow(x, start, (a, s)), start, rates)
        return jacobian, log_densities, density.flow(y, end, start), velocity, density.predict(x, *start)

    jacobian, (before, after), again, velocity, (x0, eps) = jax.device_get(run(X, (0.7, -1.3)))
    np.testing.assert_allclose(after + np.linalg.slogdet(jacobian)[1], before, rtol=1e-9)
    np.testing.assert_allclose(again, X, rtol=1e-9)
    # dx = x0 dalpha + eps dsigma along the flow.
    np.testing.assert_allclose(velocity, 0.7 * x0 - 1.3 * eps, rtol=1e-9, atol=1e-12)


def test_integer_means_do_not_truncate_and_mixtures_are_stable_far_from_everything():
    np.testing.assert_allclose(densities.gaussian(jnp.arange(D), std=0.5).covariance(), 0.25 * np.eye(D))
    mixture, x = small_mixture(), np.full((1, D), 300.0, np.float32)
    for value in (mixture.log_density(x), mixture.responsibilities(x), *mixture.predict(x, 1.0, 0.1)):
        assert np.all(np.isfinite(value))


@in_float64
def test_mixture_log_density_and_responsibilities_are_sums_over_components():
    weights = np.array([1, 2, 3]) / 6

    @jax.jit
    def run(x):
        mixture = small_mixture()
        each = [(mixture.log_density(x), mixture.responsibilities(x)) for x in (x, x[0])]
        return [(part.mean, part.covariance()) for part in map(mixture.component, range(3))], each

    parts, ((log_density, responsibilities), one) = jax.device_get(run(X))
    joint = np.stack([w * stats.multivariate_normal(*part).pdf(X) for w, part in zip(weights, parts, strict=True)])
    np.testing.assert_allclose(log_density, np.log(joint.sum(axis=0)), rtol=1e-9)
    np.testing.assert_allclose(responsibilities, (joint / joint.sum(axis=0)).T, rtol=1e-7, atol=1e-12)
    assert [value.shape for value in one] == [(), (3,)]


def test_mixture_samples_carry_their_labels():
    n = 20_000

    @jax.jit
    def run(key):
        mixture = small_mixture()
        parts = [(part.mean, part.covariance()) for part in map(mixture.component, range(3))]
        return mixture.sample_with_labels(key, (n // 2, 2)), mixture.sample(key, (n // 2, 2)), parts

    (x, labels), plain, parts = jax.device_get(run(jax.random.key(0)))
    assert x.shape == (n // 2, 2, D)
    assert labels.shape == (n // 2, 2)
    np.testing.assert_allclose(np.bincount(labels.ravel()) / n, np.array([1, 2, 3]) / 6, atol=0.02)
    for k, (mean, covariance) in enumerate(parts):
        samples_agree(x[labels == k], mean, covariance)
    np.testing.assert_array_equal(plain, x)


def test_ring_has_its_modes_in_order_and_unit_scale():
    @jax.jit
    def run(key):
        ring = densities.ring(num_modes=8, radius=1.4, std=0.1)
        return ring.component(2).mean, ring.sample(key, (4000,))

    mean, x = run(jax.random.key(0))
    np.testing.assert_allclose(mean, [0.0, 1.4], atol=1e-6)
    assert np.std(x, axis=0) == pytest.approx([1.0, 1.0], abs=0.03)


def test_densities_vmap_over_their_parameters():
    stds = np.array([0.5, 1.0, 2.0])
    one = lambda std: densities.gaussian(jnp.zeros(D), std=std).predict(jnp.ones(D), 0.6, 0.8).x0
    batched = jax.jit(jax.vmap(one))(stds)
    np.testing.assert_allclose(batched[:, 0], 0.6 * stds**2 / (0.36 * stds**2 + 0.64), rtol=1e-6)


def test_entropy_has_the_gradient_of_half_the_log_determinant():
    entropy = lambda factor: densities.gaussian(jnp.zeros(D), std=0.3, factor=factor).entropy()
    slope = jax.jit(jax.grad(entropy))(np.float32(FACTOR))
    np.testing.assert_allclose(slope, np.linalg.solve(GAUSSIANS["low_rank"][1], FACTOR), rtol=1e-3, atol=1e-4)
