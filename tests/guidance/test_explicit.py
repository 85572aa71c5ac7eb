"""Guided joints of explicit models: an autoregressive Gaussian, a flow and an energy, by Metropolis-Langevin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, densities, guidance, schedules
from scorekit.guidance import classifier_free_log_density, classifier_guided_log_density, log_product
from scorekit.samplers import langevin, metropolis_langevin

KEY = jax.random.key(0)
D = 3


def autoregressive(slope, shift, std):
    """``x_k ~ N(slope x_k-1 + shift, std^2)``, one value after the other."""

    def log_density(x):
        before = jnp.pad(x[..., :-1], ((0, 0), (1, 0)))
        return jnp.sum(-0.5 * jnp.square((x - slope * before - shift) / std), -1)

    return log_density


UNCOND, COND = autoregressive(0.5, 0.0, 0.8), autoregressive(0.8, 0.6, 0.6)


def precision_and_shift(slope, shift, std):
    """``exp(-x P x / 2 + h x)``: the residuals are ``L x - shift`` with L bidiagonal."""
    residual = np.eye(D) - slope * np.eye(D, k=-1)
    return residual.T @ residual / std**2, residual.T @ np.full(D, shift) / std**2


def guided_gaussian(scale):
    (p, h), (p_y, h_y) = precision_and_shift(0.5, 0.0, 0.8), precision_and_shift(0.8, 0.6, 0.6)
    covariance = np.linalg.inv((1 - scale) * p + scale * p_y)
    return covariance @ ((1 - scale) * h + scale * h_y), covariance


@jax.jit
def chains(scale, step, start):
    """The end of many chains on the guided joint, classifier-free and with the classifier that the models are."""
    classifier = log_product((1.0, COND), (-1.0, UNCOND))
    free = classifier_free_log_density(COND, UNCOND, scale)
    with_classifier = classifier_guided_log_density(UNCOND, classifier, scale)
    end = metropolis_langevin(KEY, free, start, step, 120)
    by_score = langevin(KEY, denoisers.score_from_log_density(with_classifier), start, 0.1, 3)
    return end, free(start), with_classifier(start), by_score


@pytest.mark.parametrize(("scale", "step"), [(0.5, 0.15), (2.5, 0.07)])
def test_metropolis_langevin_reaches_the_guided_joint_of_an_autoregressive_model(scale, step):
    n = 4000
    start = jax.random.normal(jax.random.key(1), (n, D))
    end, free, with_classifier, by_score = chains(scale, step, start)
    mean, covariance = guided_gaussian(scale)
    assert 0.4 < float(end.acceptance.mean()) < 0.95
    deviation = np.sqrt(np.diag(covariance) / n)
    np.testing.assert_allclose(np.mean(end.x, 0), mean, atol=4.5 * deviation.max())
    np.testing.assert_allclose(np.cov(np.asarray(end.x).T), covariance, atol=4.5 * np.sqrt(2 / n) * covariance.max())
    np.testing.assert_allclose(free, with_classifier, rtol=1e-4, atol=1e-4)
    precision = np.linalg.inv(covariance)
    exact = langevin(KEY, lambda x: (precision @ mean - x @ precision).astype(x.dtype), start, 0.1, 3)
    np.testing.assert_allclose(by_score, exact, atol=1e-4)


def flow(x):
    """A standard normal carried by sinh."""
    return jnp.sum(-0.5 * jnp.square(jnp.arcsinh(x)) - 0.5 * jnp.log1p(jnp.square(x)), -1)


def energy(x):
    return jnp.sum(-0.25 * x**4 + 0.5 * x, -1)


def label(x):
    """A logistic classifier."""
    return jax.nn.log_sigmoid(3.0 * x[..., 0] + 1.0)


@pytest.mark.slow
def test_classifier_guidance_of_a_flow_and_an_energy():
    n, scale = 4000, 2.0
    start = jnp.full((n, 1), 0.5)
    guided = [classifier_guided_log_density(model, label, scale) for model in (flow, energy)]
    ends = jax.jit(lambda x: [metropolis_langevin(KEY, log_p, x, 0.4, 100).x for log_p in guided])(start)
    for model, x, grid in zip(
        (flow, energy), ends, (np.linspace(-4, 400, 400_001), np.linspace(-6, 6, 20_001)), strict=True
    ):
        density = np.exp(np.asarray(model(grid[:, None]) + scale * label(grid[:, None]), np.float64))
        for statistic in (np.tanh, lambda x: x < 0.5, lambda x: x < 1.5):  # bounded: the flow has a long tail
            values = statistic(grid)
            mean = np.sum(density * values) / density.sum()
            deviation = np.sqrt(np.sum(density * (values - mean) ** 2) / density.sum() / n)
            np.testing.assert_allclose(np.mean(statistic(np.asarray(x))), mean, atol=4.5 * deviation)


def test_guided_log_density_with_a_noise_level_matches_guided_denoisers():
    schedule, modes = schedules.cosine(), [densities.gaussian(jnp.array([m, 0.3]), std=0.7) for m in (-1.0, 1.0)]
    data = densities.mixture([0.5, 0.5], modes)
    noisy = lambda density: lambda x, t: density.marginal(schedule.alpha(t), schedule.sigma(t)).log_density(x)
    guided = classifier_free_log_density(noisy(modes[1]), noisy(data), 3.0)
    x, t = jax.random.normal(KEY, (5, 2)), 0.4
    found = jax.jit(denoisers.denoiser_from_log_density(guided, schedule))(x, t)
    exact = (denoisers.exact_denoiser(density, schedule) for density in (modes[1], data))
    expected = jax.jit(guidance.classifier_free(*exact, 3.0))(x, t)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected)


def test_log_product_weight_of_0_drops_its_term_and_new_weights_do_not_recompile():
    traces = []

    @jax.jit
    def value(log_density, x):
        traces.append(1)
        return log_density(x)

    nowhere = lambda x: jnp.full(x.shape[0], -jnp.inf)
    x = jnp.ones((2, D))
    product = lambda *weights: log_product(*zip(weights, (UNCOND, COND, nowhere), strict=True))
    np.testing.assert_allclose(value(product(2.0, -0.5, 0.0), x), 2.0 * UNCOND(x) - 0.5 * COND(x), rtol=1e-6)
    assert np.all(value(product(2.0, -0.5, 1.0), x) == -np.inf)
    assert len(traces) == 1


def test_log_product_without_terms_raises():
    with pytest.raises(ValueError, match="terms must hold at least one pair"):
        log_product()
