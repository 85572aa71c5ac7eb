"""Exact distributions against scipy, dense linear algebra and Tweedie's formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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


@each_gaussian
@in_float64
def test_log_density_entropy_and_covariance_agree_with_scipy(name):
    make, covariance = GAUSSIANS[name]
    density, oracle = make(), stats.multivariate_normal(MEAN, covariance)
    np.testing.assert_allclose(density.covariance(), covariance, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(density.log_density(X), oracle.logpdf(X), rtol=1e-10)
    np.testing.assert_allclose(density.entropy(), oracle.entropy(), rtol=1e-10)
    assert density.log_density(X[0]).shape == ()
    assert density.log_density(X.reshape(1, B, D)).shape == (1, B)


@each_gaussian
def test_samples_have_the_mean_and_covariance(name):
    make, covariance = GAUSSIANS[name]
    n = 40_000
    x = np.asarray(make().sample(jax.random.key(0), (n // 4, 4))).reshape(n, D)
    std = np.sqrt(np.diag(covariance))
    np.testing.assert_array_less(np.abs(x.mean(axis=0) - MEAN), 5 * std / np.sqrt(n))
    np.testing.assert_array_less(np.abs(np.cov(x.T) - covariance), 8 * np.outer(std, std) / np.sqrt(n))
    assert make().sample(jax.random.key(0)).shape == (D,)


@each_gaussian
@pytest.mark.parametrize("level", LEVELS)
@in_float64
def test_marginal_and_predictions_are_dense_linear_algebra(name, level):
    (make, covariance), (alpha, sigma) = GAUSSIANS[name], level
    density = make()
    k = alpha**2 * covariance + sigma**2 * np.eye(D)
    np.testing.assert_allclose(density.marginal(alpha, sigma).covariance(), k, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(density.marginal(alpha, sigma).mean, alpha * MEAN)
    prediction, centred = density.predict(X, alpha, sigma), X - alpha * MEAN
    np.testing.assert_allclose(prediction.x0, MEAN + alpha * np.linalg.solve(k, centred.T).T @ covariance, rtol=1e-7)
    np.testing.assert_allclose(prediction.eps, sigma * np.linalg.solve(k, centred.T).T, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(alpha * prediction.x0 + sigma * prediction.eps, X, rtol=1e-9)


@each_density
@pytest.mark.parametrize("level", LEVELS)
@in_float64
def test_predictions_satisfy_tweedies_formula(make, level):
    density, (alpha, sigma) = make(), level
    score = jax.grad(lambda x: jnp.sum(density.marginal(alpha, sigma).log_density(x)))(X)
    prediction = density.predict(X, alpha, sigma)
    np.testing.assert_allclose(prediction.eps, -sigma * score, rtol=1e-7, atol=1e-9)
    if alpha > 0:
        np.testing.assert_allclose(prediction.x0, (X + sigma**2 * score) / alpha, rtol=1e-6, atol=1e-8)
    else:
        mean = density.predict(0 * X, 0.0, 1.0).x0
        np.testing.assert_allclose(prediction.x0, mean, rtol=1e-9)


@each_density
def test_predictions_are_precise_in_float32_at_both_ends(make):
    x = jnp.float32(X)
    for alpha, sigma in [(1.0, 0.0), (1.0, 1e-4), (0.0, 1.0)]:
        with jax.enable_x64(True):
            exact = jax.tree.map(np.asarray, make().predict(np.float64(x), alpha, sigma))
        for value, truth in zip(make().predict(x, alpha, sigma), exact, strict=True):
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
    density, start, end = GAUSSIANS[name][0](), (0.8, 0.6), (0.3, 2.0)
    y = density.flow(X, start, end)
    jacobian = jax.vmap(jax.jacfwd(lambda x: density.flow(x, start, end)))(X)
    moved = density.marginal(*end).log_density(y) + np.linalg.slogdet(np.asarray(jacobian))[1]
    np.testing.assert_allclose(moved, density.marginal(*start).log_density(X), rtol=1e-9)
    np.testing.assert_allclose(density.flow(y, end, start), X, rtol=1e-9)
    # dx = x0 dalpha + eps dsigma along the flow.
    rates = jnp.array(0.7), jnp.array(-1.3)
    velocity = jax.jvp(lambda a, s: density.flow(X, start, (a, s)), tuple(map(jnp.array, start)), rates)[1]
    prediction = density.predict(X, *start)
    np.testing.assert_allclose(velocity, 0.7 * prediction.x0 - 1.3 * prediction.eps, rtol=1e-9, atol=1e-12)


@in_float64
def test_mixture_log_density_and_responsibilities_are_sums_over_components():
    mixture, weights = small_mixture(), np.array([1, 2, 3]) / 6
    parts = [mixture.component(k) for k in range(3)]
    joint = np.stack([
        w * stats.multivariate_normal(np.asarray(p.mean), np.asarray(p.covariance())).pdf(X)
        for w, p in zip(weights, parts, strict=True)
    ])  # fmt: skip
    np.testing.assert_allclose(mixture.log_density(X), np.log(joint.sum(axis=0)), rtol=1e-9)
    np.testing.assert_allclose(mixture.responsibilities(X), (joint / joint.sum(axis=0)).T, rtol=1e-7, atol=1e-12)
    assert mixture.log_density(X[0]).shape == ()
    assert mixture.responsibilities(X[0]).shape == (3,)


def test_mixture_samples_carry_their_labels():
    mixture, n = small_mixture(), 20_000
    x, labels = (np.asarray(a) for a in mixture.sample_with_labels(jax.random.key(0), (n // 2, 2)))
    assert x.shape == (n // 2, 2, D)
    assert labels.shape == (n // 2, 2)
    np.testing.assert_allclose(np.bincount(labels.ravel()) / n, np.array([1, 2, 3]) / 6, atol=0.02)
    for k in range(3):
        part, component = x[labels == k], mixture.component(k)
        covariance = np.asarray(component.covariance())
        scale = 6 / np.sqrt(len(part))
        std = np.sqrt(np.diag(covariance))
        np.testing.assert_array_less(np.abs(part.mean(axis=0) - component.mean), scale * std)
        np.testing.assert_array_less(np.abs(np.cov(part.T) - covariance), 2 * scale * np.outer(std, std))
    np.testing.assert_array_equal(mixture.sample(jax.random.key(0), (n // 2, 2)), x)


def test_mixture_is_stable_far_from_everything():
    far = jnp.full((1, D), 300.0)
    mixture = small_mixture()
    for value in (mixture.log_density(far), mixture.responsibilities(far), *mixture.predict(far, 1.0, 0.1)):
        assert np.all(np.isfinite(value))


def test_ring_has_its_modes_in_order_and_unit_scale():
    ring = densities.ring(num_modes=8, radius=1.4, std=0.1)
    np.testing.assert_allclose(ring.component(2).mean, [0.0, 1.4], atol=1e-6)
    assert np.asarray(ring.sample(jax.random.key(0), (4000,))).std(axis=0) == pytest.approx([1.0, 1.0], abs=0.03)


def test_densities_vmap_over_their_parameters():
    stds = jnp.array([0.5, 1.0, 2.0])
    batched = jax.vmap(lambda s: densities.gaussian(jnp.zeros(D), std=s).predict(jnp.ones(D), 0.6, 0.8).x0)(stds)
    np.testing.assert_allclose(batched[:, 0], 0.6 * stds**2 / (0.36 * stds**2 + 0.64), rtol=1e-6)


def test_an_integer_mean_does_not_truncate_the_rest():
    integer = densities.gaussian(jnp.arange(D), std=0.5)
    np.testing.assert_allclose(integer.covariance(), 0.25 * np.eye(D))


def test_entropy_has_the_gradient_of_half_the_log_determinant():
    slope = jax.grad(lambda f: densities.gaussian(jnp.zeros(D), std=0.3, factor=f).entropy())(jnp.float32(FACTOR))
    np.testing.assert_allclose(slope, np.linalg.solve(GAUSSIANS["low_rank"][1], FACTOR), rtol=1e-3, atol=1e-4)


INVALID = {
    "mean must have shape": lambda: densities.gaussian(jnp.zeros((2, 2)), std=1.0),
    "exactly one of std, covariance, or factor together with std": lambda: densities.gaussian(MEAN),
    "got std=1.0, covariance=True": lambda: densities.gaussian(MEAN, std=1.0, covariance=FULL),
    "std=None, covariance=True, factor=True": lambda: densities.gaussian(MEAN, covariance=FULL, factor=FACTOR),
    "std=None, covariance=False, factor=True": lambda: densities.gaussian(MEAN, factor=FACTOR),
    r"covariance must have shape \(4, 4\), got \(2, 2\)": lambda: densities.gaussian(MEAN, covariance=np.eye(2)),
    "covariance must be symmetric": lambda: densities.gaussian(MEAN, covariance=np.eye(D) + np.eye(D, k=1)),
    r"std must be a scalar, got shape \(4,\)": lambda: densities.gaussian(MEAN, std=np.ones(D)),  # type: ignore[arg-type]
    "covariance_eigenvalues must be": lambda: densities.gaussian(MEAN, covariance=-FULL),
    "std must be finite and > 0, got 0.0": lambda: densities.gaussian(MEAN, std=0.0),
    r"factor must have shape \(4, R\) with R < 4": lambda: densities.gaussian(MEAN, std=1.0, factor=ROOT),
    r"weights must have shape \(1,\)": lambda: densities.mixture([1, 2], [densities.gaussian(MEAN, std=1.0)]),
    "weights must be finite and > 0": lambda: densities.mixture([0.0], [densities.gaussian(MEAN, std=1.0)]),
    "components must share": lambda: densities.mixture(
        [1, 1], [densities.gaussian(MEAN, std=1.0), densities.gaussian(MEAN, std=1.0, factor=FACTOR)]
    ),
}


@pytest.mark.parametrize("message", INVALID)
def test_invalid_arguments_raise(message):
    with pytest.raises(ValueError, match=message):
        INVALID[message]()
