"""The exact problems against the densities of scorekit."""

import jax
import jax.numpy as jnp
import numpy as np
from errors import raising
from tables import in_float64

from scorekit import conformance, densities


def both():
    """A mixture of correlated Gaussians in NumPy and in JAX."""
    rng = np.random.default_rng(0)
    weights, means, factors = rng.dirichlet(np.ones(3)), rng.normal(size=(3, 4)), rng.normal(size=(3, 4, 4))
    covariances = factors @ factors.swapaxes(1, 2) + 0.1 * np.eye(4)
    parts = [densities.gaussian(jnp.asarray(m), covariance=c) for m, c in zip(means, covariances, strict=True)]
    return conformance.mixture(weights, means, covariances), densities.mixture(weights, parts)


@in_float64
def test_mixture_agrees_with_densities():
    ours, theirs = both()
    x = np.random.default_rng(1).normal(size=(5, 4))
    sigmas, alphas = np.array([0.1, 0.5, 1.0, 3.0, 80.0]), np.array([1.0, 0.8, 0.3, 0.0, 2.0])
    for k, (sigma, alpha) in enumerate(zip(sigmas, alphas, strict=True)):
        at, noisy = x[k : k + 1], theirs.marginal(alpha, sigma)
        found = (ours.log_density(x, sigmas, alphas)[k], ours.score(x, sigmas, alphas)[k])
        np.testing.assert_allclose(found[0], noisy.log_density(at)[0], rtol=1e-10)
        np.testing.assert_allclose(found[1], jax.grad(noisy.log_density)(at[0]), rtol=1e-8)
        x0 = theirs.predict(at, alpha, sigma).x0[0]
        np.testing.assert_allclose(ours.denoiser(x, sigmas, alphas)[k], x0, rtol=1e-8)
        np.testing.assert_allclose(ours.marginal(alpha, sigma).log_density(at), noisy.log_density(at), rtol=1e-10)


def test_samples_have_the_moments_of_the_mixture():
    problem, _ = both()
    x = problem.sample(np.random.default_rng(2), 200_000)
    np.testing.assert_allclose(x.mean(0), problem.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), problem.covariance, atol=0.08)


def test_posterior_is_bayes_rule():
    """The same for all x: ``p(x) p(y | x) / p(x | y)``."""
    problem, _ = both()
    x, operator = np.random.default_rng(3).normal(size=(6, 4)), np.array([[1.0, 0, 0.5, 0], [0, 0, 1, -1]])
    y, noise = np.array([0.3, -0.4]), 0.2
    fit = -0.5 * np.sum((y - x @ operator.T) ** 2, axis=1) / noise**2
    evidence = problem.log_density(x) + fit - problem.posterior(operator, y, noise).log_density(x)
    np.testing.assert_allclose(evidence, evidence[0], rtol=1e-9)


def test_posterior_of_hardly_any_noise_is_positive():
    problem = conformance.gaussian([0.3, -0.2], [[0.5, 0.3], [0.3, 0.8]])
    for noise in (1e-7, 1e-9):
        posterior = problem.posterior(np.eye(2), [0.1, 0.2], noise)
        np.testing.assert_allclose(posterior.variances, noise**2, rtol=1e-6)


PLANE = conformance.gaussian([0.3, -0.2], np.eye(2))
test_errors = raising(
    {
        "observation must be finite": lambda: PLANE.posterior(np.eye(2), [np.nan, 0.2], 1.0),
    }
)


def test_flow_of_a_gaussian_scales_the_deviations():
    problem = conformance.gaussian([0.3, -0.2], [[0.5, 0.3], [0.3, 0.8]])
    (basis,), (variances,) = problem.bases, problem.variances
    x = np.array([[60.0, -100.0], [5.0, 2.0]])
    gain = basis * np.sqrt(variances / (variances + 80.0**2)) @ basis.T
    np.testing.assert_allclose(problem.flow(x, 80.0, 0.0), problem.mean + (x - problem.mean) @ gain, rtol=1e-6)
