"""Composition of the posteriors of single observations: closed forms for Gaussians, and mixtures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import of_leaves
from tables import in_float64

from scorekit import denoisers, densities, schedules
from scorekit.guidance import several_observations
from scorekit.typing import Prediction

SCHEDULES = {"vp": schedules.Cosine(), "ve": schedules.EDM(), "flow": schedules.RectifiedFlow()}
METHODS = ("gaussian", "jacobian", "sum")
TIMES = np.array([0.0, 0.02, 0.3, 0.8, 1.0])


@functools.cache
def linear_problem(dim, n):
    """A Gaussian prior and linear observations: means and covariances of the prior, of each posterior and of all."""
    rng = np.random.default_rng(0)
    spd = lambda: (lambda f: f @ f.T / dim + 0.3 * np.eye(dim))(rng.normal(size=(dim, dim)))
    mean, covariance, noise = rng.normal(size=dim), spd(), spd()
    operator = np.eye(dim) + 0.3 * rng.normal(size=(dim, dim)) / np.sqrt(dim)
    information = operator.T @ np.linalg.inv(noise)
    x = operator @ rng.multivariate_normal(mean, covariance) + rng.multivariate_normal(np.zeros(dim), noise, size=n)

    def posterior(x):
        found = np.linalg.inv(np.linalg.inv(covariance) + len(x) * information @ operator)
        return found @ (np.linalg.solve(covariance, mean) + information @ x.sum(0)), found

    each = np.stack([posterior(x[i : i + 1])[0] for i in range(n)])
    return (mean, covariance), (each, posterior(x[:1])[1]), posterior(x)


def linear(schedule, dim, n):
    """The compositions by method, the denoiser that they approximate, and its mean and covariance."""
    (mean, covariance), (each, single), of_all = linear_problem(dim, n)
    exact = lambda mean, covariance: densities.gaussian(jnp.asarray(mean), covariance=jnp.asarray(covariance))
    template = exact(each[0], single)
    parts = (
        lambda x, t, mean: denoisers.exact_denoiser(dataclasses.replace(template, mean=mean), schedule)(x, t),
        denoisers.exact_denoiser(exact(mean, covariance), schedule),
        schedule,
        jnp.asarray(each),
    )
    given = {"covariances": np.broadcast_to(single, (n, dim, dim)), "prior_covariance": covariance}
    rules = {
        method: several_observations(*parts, method, **given if method == "gaussian" else {}) for method in METHODS
    }
    return rules, denoisers.exact_denoiser(exact(*of_all), schedule), *of_all


def mixture(schedule, dim=1):
    """``observations -> posterior`` and the prior for a mixture of modes and observations of noise ``NOISE``."""
    modes = jnp.asarray([[-1.5] * dim, [1.5] * dim, [0.0] * (dim - 1) + [2.5]])
    parts = densities.Gaussian(
        mean=modes, basis=jnp.zeros((3, dim, 0)), variances=jnp.zeros((3, 0)), residual=jnp.full(3, 0.16)
    )
    prior = densities.Mixture(log_weights=jnp.log(jnp.array([0.5, 0.3, 0.2])), components=parts)

    def posterior(x):
        noise = 4.0 / len(x)
        variance = 1 / (1 / 0.16 + 1 / noise)
        log_weights = prior.log_weights - 0.5 * jnp.sum((x.mean(0) - modes) ** 2, -1) / (0.16 + noise)
        means = variance * (modes / 0.16 + x.mean(0) / noise)
        components = dataclasses.replace(parts, mean=means, residual=jnp.full(3, variance))
        return densities.Mixture(log_weights=jax.nn.log_softmax(log_weights), components=components)

    conditional = lambda x, t, observation: denoisers.exact_denoiser(posterior(observation[None]), schedule)(x, t)
    return conditional, denoisers.exact_denoiser(prior, schedule), posterior


def assert_exact(schedule, dim, n, rtol, methods=METHODS[:2]):
    rules, full, mean, covariance = linear(schedule, dim, n)
    times = jnp.asarray(TIMES)
    alpha, sigma = (f(times)[:, None] for f in (schedule.alpha, schedule.sigma))
    noise = jax.random.normal(jax.random.key(0), (len(TIMES), dim))
    x = alpha * mean + jnp.sqrt(sigma**2 + 0.1 * alpha**2) * noise
    exact, found = jax.jit(lambda x: (full(x, times), {method: rules[method](x, times) for method in methods}))(
        x.astype(noise.dtype)
    )
    for method in methods:
        error = np.abs(found[method].x0 - exact.x0) / np.sqrt(np.diag(covariance))
        assert error.max() < rtol, (method, error.max(1))
        gap = np.abs(found[method].eps - exact.eps) / np.where(sigma > 0, 1.0, np.inf)
        assert gap.max() < 10 * rtol, (method, gap.max(1))


@pytest.mark.parametrize("name", SCHEDULES)
def test_corrected_compositions_are_exact_for_gaussians(name):
    assert_exact(SCHEDULES[name], 2, 10, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "n"), [(1, 100), (5, 10), (16, 100)])
def test_they_are_exact_for_many_parameters_and_observations(dim, n):
    assert_exact(SCHEDULES["vp"], dim, n, 2e-3)
    jax.enable_x64(True)(lambda: assert_exact(SCHEDULES["ve"], dim, n, 1e-7))()


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 2])
@in_float64
def test_compositions_of_mixtures_are_exact_near_t_0_and_for_one_observation_only(dim):
    schedule = SCHEDULES["vp"]
    conditional, prior, posterior = mixture(schedule, dim)
    observed = 1.5 + 2.0 * jax.random.normal(jax.random.key(0), (10, dim))
    x = 1.5 + 0.5 * jax.random.normal(jax.random.key(1), (20, dim))

    @functools.partial(jax.jit, static_argnames="n")
    def errors(t, n):
        exact = denoisers.exact_denoiser(posterior(observed[:n]), schedule)(x, t).eps
        found = [
            several_observations(conditional, prior, schedule, observed[:n], method)(x, t).eps for method in METHODS[1:]
        ]
        return jnp.stack([jnp.sqrt(jnp.mean((eps - exact) ** 2) / jnp.mean(exact**2)) for eps in found])

    assert np.all(errors(0.5, 1) < 1e-6)
    assert np.all(errors(1e-3, 10) < 0.01)
    assert np.all(errors(0.5, 10) > 0.01)  # neither form is exact here


def test_a_state_may_be_any_tree():
    """Two independent leaves, composed as one vector."""
    schedule, std = SCHEDULES["vp"], 0.5**0.5
    exact = lambda mean, std: denoisers.exact_denoiser(densities.gaussian(mean, std=std), schedule)
    leaf = lambda mean: lambda x, t: jax.tree.map(lambda p: p.reshape(x.shape), exact(mean, std)(x.reshape(-1, 2), t))
    conditional = lambda x, t, y: of_leaves(a=exact(y["a"] / 2, std), b=leaf(y["b"] / 2))(x, t)
    prior = of_leaves(
        a=exact(jnp.zeros(3), 1.0),
        b=lambda x, t: jax.tree.map(lambda p: p.reshape(x.shape), exact(jnp.zeros(2), 1.0)(x.reshape(-1, 2), t)),
    )
    observed = {"a": jnp.ones((4, 3)), "b": 2 * jnp.ones((4, 2))}
    x = {"a": jnp.ones((5, 3)), "b": jnp.zeros((5, 1, 2))}
    found = jax.jit(lambda x: several_observations(conditional, prior, schedule, observed)(x, 0.5))(x)
    for name, value in (("a", 4 / 5), ("b", 8 / 5)):
        expected = exact(jnp.full(x[name].shape[-1], value), 0.2**0.5)(x[name].reshape(5, -1), 0.5)
        np.testing.assert_allclose(found.x0[name].reshape(5, -1), expected.x0, rtol=1e-4)
        np.testing.assert_allclose(found.eps[name].reshape(5, -1), expected.eps, rtol=1e-4, atol=1e-5)


def test_jacobians_that_are_no_covariances_give_finite_answers_and_gradients():
    schedule, matrix = SCHEDULES["flow"], jnp.array([[-0.2, 0.9], [0.1, 0.3]])
    conditional = lambda x, t, y: Prediction(x @ matrix + y, x)
    prior = lambda x, t: Prediction(0.5 * x, x)
    loss = lambda x: jnp.sum(several_observations(conditional, prior, schedule, jnp.ones((3, 2)))(x, 0.5).x0)
    assert np.all(np.isfinite(jax.jit(jax.grad(loss))(jnp.ones((2, 2)))))


@pytest.mark.slow
def test_covariances_a_little_wider_than_the_prior_give_a_tenth_of_its_precision():
    """A hundred precisions of 1 / 1.02 would add up to -0.96."""
    given = {"covariances": np.full((100, 1, 1), 1.02), "prior_covariance": np.eye(1)}
    none = lambda x, t, y=None: Prediction(0.0 * x, x)
    conditional = lambda x, t, y: Prediction(0.0 * x + 0.01, x)
    rule = several_observations(conditional, none, SCHEDULES["vp"], jnp.zeros((100, 1)), method="gaussian", **given)
    at_noise = rule(jnp.zeros((1, 1)), 1.0).x0
    np.testing.assert_allclose(at_noise, (100 * 0.01 / 1.02) / 0.1, rtol=1e-3)
