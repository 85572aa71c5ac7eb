"""Exact densities against scipy, dense linear algebra and differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal
from tables import in_float64, quick_jit

from scorekit.densities import gaussian, mixture, ring

RNG = np.random.default_rng(0)
MEAN, FACTOR = RNG.normal(size=3), RNG.normal(size=(3, 2))
ROOT = RNG.normal(size=(3, 3))
FULL = ROOT @ ROOT.T + 0.1 * np.eye(3)
GAUSSIANS = {
    "std": (lambda m: gaussian(m, std=0.7), 0.49 * np.eye(3)),
    "full": (lambda m: gaussian(m, covariance=FULL), FULL),
    "low_rank": (lambda m: gaussian(m, std=0.3, factor=FACTOR), FACTOR @ FACTOR.T + 0.09 * np.eye(3)),
}
WEIGHTS, MEANS = np.array([0.2, 0.5, 0.3]), RNG.normal(size=(3, 3))
# (alpha, sigma): a variance-preserving middle, the two ends and beyond.
LEVELS = [(0.8, 0.6), (1.0, 1e-7), (1.0, 0.0), (0.0, 1.0), (1e-6, 1.0), (1.0, 30.0), (0.3, 0.4)]
X = RNG.normal(size=(5, 3)) * 2
every_gaussian = pytest.mark.parametrize("kind", GAUSSIANS)
every_level = pytest.mark.parametrize(("alpha", "sigma"), LEVELS)


def make_mixture(kind):
    """A mixture of one kind of Gaussian and its dense ``[(weight, mean, covariance)]``."""
    make, covariance = GAUSSIANS[kind]
    return mixture(WEIGHTS, [make(m) for m in MEANS]), [(w, m, covariance) for w, m in zip(WEIGHTS, MEANS, strict=True)]


def dense_predict(mean, covariance, x, alpha, sigma):
    """(E[x0 | x], E[eps | x]) by conditioning the joint Gaussian of (x0, x_t)."""
    gain = np.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(3))
    centred = x - alpha * mean
    return mean + centred @ (alpha * covariance @ gain).T, centred @ (sigma * gain).T


def dense_log_joint(parts, x, alpha, sigma):
    """``log w_k + log p_k(x)`` of the noisy mixture, ``(K, B)``."""
    return np.array(
        [np.log(w) + multivariate_normal(alpha * m, alpha**2 * c + sigma**2 * np.eye(3)).logpdf(x) for w, m, c in parts]
    )


@quick_jit
def evaluate(density, x, alpha, sigma):
    """Everything at one noise level, with the score and the determinant of the log-density found by autodiff."""
    noisy = density.marginal(alpha, sigma)
    score = jax.grad(lambda x: jnp.sum(noisy.log_density(x)))(x)
    return noisy.log_density(x), score, density.predict(x, alpha, sigma)


def check_tweedie(x, score, prediction, alpha, sigma):
    np.testing.assert_allclose(prediction.eps, -sigma * score, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(alpha * prediction.x0, x + sigma**2 * score, rtol=1e-8, atol=1e-8 * np.abs(x).max())
    np.testing.assert_allclose(alpha * prediction.x0 + sigma * prediction.eps, x, rtol=1e-10, atol=1e-10)


@every_gaussian
@in_float64
def test_log_density_entropy_and_covariance_are_scipys(kind):
    make, covariance = GAUSSIANS[kind]
    density, truth = make(MEAN), multivariate_normal(MEAN, covariance)
    assert density.dim == 3
    np.testing.assert_allclose(density.covariance(), covariance, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(density.log_density(X), truth.logpdf(X), rtol=1e-10)
    np.testing.assert_allclose(density.log_density(X[0]), truth.logpdf(X[0]), rtol=1e-10)
    np.testing.assert_allclose(density.entropy(), truth.entropy(), rtol=1e-12)
    noisy = multivariate_normal(0.8 * MEAN, 0.64 * covariance + 0.36 * np.eye(3))
    np.testing.assert_allclose(density.marginal(0.8, 0.6).entropy(), noisy.entropy(), rtol=1e-12)


@every_gaussian
@every_level
@in_float64
def test_gaussian_prediction_is_conditioning_and_tweedie(kind, alpha, sigma):
    make, covariance = GAUSSIANS[kind]
    log_density, score, prediction = evaluate(make(MEAN), X, alpha, sigma)
    noisy = multivariate_normal(alpha * MEAN, alpha**2 * covariance + sigma**2 * np.eye(3))
    np.testing.assert_allclose(log_density, noisy.logpdf(X), rtol=1e-9)
    x0, eps = dense_predict(MEAN, covariance, X, alpha, sigma)
    np.testing.assert_allclose(prediction.x0, x0, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(prediction.eps, eps, rtol=1e-9, atol=1e-9)
    check_tweedie(X, score, prediction, alpha, sigma)


@every_gaussian
@every_level
@in_float64
def test_mixture_prediction_is_conditioning_and_tweedie(kind, alpha, sigma):
    density, parts = make_mixture(kind)
    log_density, score, prediction = evaluate(density, X, alpha, sigma)
    joint = dense_log_joint(parts, X, alpha, sigma)
    np.testing.assert_allclose(log_density, logsumexp(joint, axis=0), rtol=1e-9)
    share = softmax(joint, axis=0)[..., None]
    each = [dense_predict(m, c, X, alpha, sigma) for _, m, c in parts]
    np.testing.assert_allclose(prediction.x0, sum(w * p[0] for w, p in zip(share, each, strict=True)), rtol=1e-8)
    np.testing.assert_allclose(
        prediction.eps, sum(w * p[1] for w, p in zip(share, each, strict=True)), rtol=1e-8, atol=1e-10
    )
    check_tweedie(X, score, prediction, alpha, sigma)


@in_float64
def test_responsibilities_are_bayes_for_any_leading_axes():
    density, parts = make_mixture("full")
    truth = softmax(dense_log_joint(parts, X, 1.0, 0.0), axis=0).T
    np.testing.assert_allclose(density.responsibilities(X), truth, rtol=1e-9)
    np.testing.assert_allclose(density.responsibilities(X[0]), truth[0], rtol=1e-9)
    np.testing.assert_allclose(density.responsibilities(X.reshape(5, 1, 3)), truth[:, None], rtol=1e-9)
    np.testing.assert_allclose(density.component(1).mean, MEANS[1])


@quick_jit
def flow_and_rate(density, x, start, end, direction):
    return jax.jvp(lambda end: density.flow(x, start, end), (end,), (direction,)), density.flow(x, start, start)


@every_gaussian
@in_float64
def test_flow_solves_the_probability_flow_ode_and_carries_marginals(kind):
    make, covariance = GAUSSIANS[kind]
    start, end, direction = (0.1, 0.99), (0.9, 0.3), (-1.3, 0.8)
    (moved, rate), unmoved = flow_and_rate(make(MEAN), X, start, end, direction)
    np.testing.assert_allclose(unmoved, X, rtol=1e-12)
    # dx/dt = alpha' E[x0 | x] + sigma' E[eps | x] where the map has arrived.
    x0, eps = dense_predict(MEAN, covariance, np.asarray(moved), *end)
    np.testing.assert_allclose(rate, direction[0] * x0 + direction[1] * eps, rtol=1e-9)
    # An affine map that carries mean and covariance of one marginal to those of the other.
    corners = make(MEAN).flow(start[0] * MEAN + np.concatenate([np.zeros((1, 3)), np.eye(3)]), start, end)
    np.testing.assert_allclose(corners[0], end[0] * MEAN, rtol=1e-12)
    matrix = np.asarray(corners[1:] - corners[0]).T
    before, after = (a**2 * covariance + s**2 * np.eye(3) for a, s in (start, end))
    np.testing.assert_allclose(matrix @ before @ matrix.T, after, rtol=1e-9, atol=1e-12)


@every_gaussian
def test_samples_have_the_mean_and_the_covariance(kind):
    make, covariance = GAUSSIANS[kind]
    n = 20_000
    x = np.asarray(make(MEAN).sample(jax.random.key(0), (n // 2, 2)))
    assert x.shape == (n // 2, 2, 3)
    x = x.reshape(n, 3)
    spread = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(x.mean(0) - MEAN) < 4 * spread / np.sqrt(n))
    assert np.all(np.abs(np.cov(x.T) - covariance) < 4 * np.sqrt(2 / n) * np.outer(spread, spread))
    assert make(MEAN).sample(jax.random.key(0)).shape == (3,)


def test_mixture_samples_carry_their_labels():
    n, density = 6000, make_mixture("low_rank")[0]
    x, labels = (np.asarray(a) for a in density.sample_with_labels(jax.random.key(1), (n // 2, 2)))
    assert (x.shape, labels.shape) == ((n // 2, 2, 3), (n // 2, 2))
    np.testing.assert_array_equal(density.sample(jax.random.key(1), (n // 2, 2)), x)
    covariance = GAUSSIANS["low_rank"][1]
    for k, (weight, mean) in enumerate(zip(WEIGHTS, MEANS, strict=True)):
        mine = x[labels == k]
        assert abs(len(mine) / n - weight) < 4 * np.sqrt(weight * (1 - weight) / n)
        assert np.all(np.abs(mine.mean(0) - mean) < 4 * np.sqrt(np.diag(covariance) / len(mine)))
        np.testing.assert_allclose(np.cov(mine.T), covariance, atol=0.15 * np.abs(covariance).max())


@pytest.mark.parametrize("kind", ["full", "low_rank"])
def test_float32_holds_over_sixty_nats(kind):
    """Noise levels from e^-15 to e^15, at points of the noisy data and far away from them."""
    density, parts = make_mixture(kind)
    for log_ratio in np.linspace(-15, 15, 7):
        alpha, sigma = (1 / np.sqrt(1 + np.exp(sign * 2 * log_ratio)) for sign in (1, -1))
        x = np.float32(alpha * MEANS[0] + np.hypot(alpha, sigma) * X)
        _, score, prediction = evaluate(density, x, np.float32(alpha), np.float32(sigma))
        share = softmax(dense_log_joint(parts, x, alpha, sigma), axis=0)[..., None]
        each = [dense_predict(m, c, x, alpha, sigma) for _, m, c in parts]
        for value, i in ((prediction.x0, 0), (prediction.eps, 1)):
            truth = sum(w * p[i] for w, p in zip(share, each, strict=True))
            np.testing.assert_allclose(value, truth, rtol=2e-4, atol=2e-4 * np.abs(truth).max())
        assert np.all(np.isfinite(score))
    far = density.predict(jnp.full((1, 3), 1e4), 0.8, 0.6)
    assert all(np.all(np.isfinite(leaf)) for leaf in far)


def test_densities_are_trees_of_floats():
    density = make_mixture("full")[0]
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(density))
    traces = []

    @jax.jit
    def run(density):
        traces.append(1)
        return density.log_density(jnp.zeros(3))

    assert run(density) != run(jax.tree.map(lambda x: x + 0.1, density))
    assert len(traces) == 1
    integer = gaussian(jnp.arange(3), std=0.5)
    np.testing.assert_allclose(integer.covariance(), 0.25 * np.eye(3))


def test_hyper_parameters_may_be_traced():
    entropies = jax.vmap(lambda s: gaussian(jnp.zeros(3), std=s).entropy())(jnp.array([0.5, 2.0]))
    np.testing.assert_allclose(
        entropies, [multivariate_normal(np.zeros(3), s**2).entropy() for s in (0.5, 2.0)], rtol=1e-5
    )
    slope = jax.grad(lambda f: gaussian(jnp.zeros(3), std=0.3, factor=f).entropy())(jnp.float32(FACTOR))
    covariance = GAUSSIANS["low_rank"][1]
    np.testing.assert_allclose(slope, np.linalg.solve(covariance, FACTOR), rtol=1e-4, atol=1e-5)


def test_ring_has_its_modes_on_the_circle():
    density = ring(8, radius=1.4, std=0.1)
    angles = np.arange(8) * np.pi / 4
    np.testing.assert_allclose(density.components.mean, 1.4 * np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-6)
    np.testing.assert_allclose(np.exp(density.log_weights), 1 / 8, rtol=1e-6)
    np.testing.assert_allclose(density.component(3).covariance(), 0.01 * np.eye(2), rtol=1e-6)


REFUSALS = {
    r"mean must have shape \(D,\), got \(1, 3\)": lambda: gaussian(np.zeros((1, 3)), std=1.0),
    "give std, or covariance, or factor together with std": lambda: gaussian(MEAN),
    "got std=1.0, covariance=True": lambda: gaussian(MEAN, std=1.0, covariance=FULL),
    "got std=None, covariance=False, factor=True": lambda: gaussian(MEAN, factor=FACTOR),
    "std must be finite and > 0, got 0.0": lambda: gaussian(MEAN, std=0.0),
    r"std must be a scalar, got shape \(3,\)": lambda: gaussian(MEAN, std=np.ones(3)),
    r"covariance must have shape \(3, 3\), got \(2, 2\)": lambda: gaussian(MEAN, covariance=np.eye(2)),
    "covariance must be symmetric": lambda: gaussian(MEAN, covariance=np.eye(3) + np.triu(np.ones((3, 3)), 1)),
    "covariance_eigenvalues must be finite and > 0": lambda: gaussian(MEAN, covariance=-np.eye(3)),
    r"factor must have shape \(3, R\) with R < 3, got \(3, 3\)": lambda: gaussian(MEAN, std=1.0, factor=FULL),
    r"weights must have shape \(1,\)": lambda: mixture([1, 2], [gaussian(MEAN, std=1.0)]),
    "weights must be finite and > 0": lambda: mixture([0.0], [gaussian(MEAN, std=1.0)]),
    "components must share dimension and rank": lambda: mixture(
        [1, 1], [gaussian(MEAN, std=1.0), gaussian(MEAN, covariance=FULL)]
    ),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refuses_naming_the_argument(message):
    with pytest.raises(ValueError, match=message):
        REFUSALS[message]()
