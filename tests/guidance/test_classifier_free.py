"""Classifier-free guidance and its arithmetic, CFG++."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from rule_table import COND, DATA, SCHEDULE, UNCOND, same

from scorekit import denoisers, densities, process, samplers, solvers
from scorekit.guidance import cfg_plus_plus, classifier_free, compose, negative, weight_schedule

X = jax.random.normal(jax.random.key(0), (5, 2))
T = jnp.float32(0.4)


@pytest.mark.slow
def test_scale_zero_is_unconditional_and_one_is_conditional():
    same(classifier_free(COND, UNCOND, 0.0)(X, T), UNCOND(X, T))
    same(classifier_free(COND, UNCOND, 1.0)(X, T), COND(X, T))


@pytest.mark.slow
def test_the_guided_score_is_that_of_the_tilted_density():
    """grad log [p_t(x) (p_t(x | y) / p_t(x))^gamma]."""
    gamma, alpha, sigma = 2.5, SCHEDULE.alpha(T), SCHEDULE.sigma(T)
    p, p_y = DATA.marginal(alpha, sigma), DATA.component(1).marginal(alpha, sigma)
    tilted = lambda x: p.log_density(x) + gamma * (p_y.log_density(x) - p.log_density(x))
    expected = jax.vmap(jax.grad(tilted))(X)
    guided = classifier_free(COND, UNCOND, gamma)(X, T)
    np.testing.assert_allclose(process.score(guided, T, SCHEDULE), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_one_scale_per_example():
    scales = jnp.array([0.0, 1.0, 2.0, 3.0, -1.0])
    together = classifier_free(COND, UNCOND, scales)(X, T)
    for i, scale in enumerate(scales):
        alone = classifier_free(COND, UNCOND, scale)(X[i : i + 1], T)
        same(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], together), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_gradient_reaches_the_scale():
    def end(scale):
        rule = classifier_free(COND, UNCOND, scale)
        return samplers.sample(None, rule, SCHEDULE, solvers.DPMSolverPP2M(), X, solvers.grids.uniform(4)).sum()

    step = 1e-2
    slope = (end(2.0 + step) - end(2.0 - step)) / (2 * step)
    assert float(jax.grad(end)(2.0)) == pytest.approx(float(slope), rel=1e-2)


def test_composition_is_the_score_of_the_product():
    """grad log [p_t(x) prod_k (p_t(x | y_k) / p_t(x))^w_k]."""
    weights, alpha, sigma = (1.5, -0.4), SCHEDULE.alpha(T), SCHEDULE.sigma(T)
    p, one, two = (d.marginal(alpha, sigma) for d in (DATA, DATA.component(1), DATA.component(2)))

    def product(x):
        terms = zip(weights, (one, two), strict=True)
        return p.log_density(x) + sum(w * (q.log_density(x) - p.log_density(x)) for w, q in terms)

    conditions = [denoisers.exact_denoiser(DATA.component(k), SCHEDULE) for k in (1, 2)]
    found = process.score(compose(UNCOND, conditions, weights)(X, T), T, SCHEDULE)
    np.testing.assert_allclose(found, jax.vmap(jax.grad(product))(X), rtol=1e-3, atol=1e-4)


def test_negative_with_scale_gamma_minus_one_replaces_the_unconditional():
    unwanted = denoisers.exact_denoiser(densities.gaussian(jnp.array([1.0, -1.0]), std=0.5), SCHEDULE)
    pushed = negative(COND, UNCOND, unwanted, 4.0, 3.0)(X, T)
    same(pushed, classifier_free(COND, unwanted, 4.0)(X, T), rtol=1e-4, atol=1e-4)
    same(negative(COND, UNCOND, unwanted, 4.0, 0.0)(X, T), classifier_free(COND, UNCOND, 4.0)(X, T))
    pushed = negative(COND, UNCOND, unwanted, 4.0, 0.5)(X, T)
    for found, c, u, n in zip(pushed, COND(X, T), UNCOND(X, T), unwanted(X, T), strict=True):
        np.testing.assert_allclose(found, u + 4.0 * (c - u) - 0.5 * (n - u), rtol=1e-4, atol=1e-4)


def test_cfg_plus_plus_steps_as_published():
    """Algorithm 2 with DDIM steps, written out; and its pair is not a split of x_t."""
    ts, x = [0.9, 0.6, 0.3, 0.05], X
    rule = cfg_plus_plus(COND, UNCOND, 0.6)
    found = samplers.sample(None, rule, SCHEDULE, solvers.Euler(), X, ts)
    for t, s in itertools.pairwise(ts):
        eps_cond, eps_uncond = COND(x, t).eps, UNCOND(x, t).eps
        guided = eps_uncond + 0.6 * (eps_cond - eps_uncond)
        clean = (x - SCHEDULE.sigma(t) * guided) / SCHEDULE.alpha(t)
        x = SCHEDULE.alpha(s) * clean + SCHEDULE.sigma(s) * eps_uncond
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-4)
    x0, eps = rule(X, T)
    assert float(jnp.abs(SCHEDULE.alpha(T) * x0 + SCHEDULE.sigma(T) * eps - X).max()) > 0.05
    same(cfg_plus_plus(COND, UNCOND, 0.0)(X, T), UNCOND(X, T))
    same(cfg_plus_plus(COND, COND, 0.7)(X, T), COND(X, T))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: compose(UNCOND, [COND], [1.0, 2.0]),
            "weights must be one for each condition, .* got 2 for 1 conditions",
        ),
        (
            lambda: compose(UNCOND, [], []),
            "weights must be one for each condition, at least one, got 0 for 0 conditions",
        ),
        (lambda: weight_schedule(1.0, 2.0, "step"), "shape must be one of .* got 'step'"),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("shape", "share"),
    [("linear", lambda u: u), ("cosine", lambda u: np.sin(np.pi * u / 2) ** 2), ("power", lambda u: u**3)],
)
def test_weight_schedules(shape, share):
    t = np.linspace(0.0, 1.0, 7)
    found = jax.jit(lambda gamma, t: gamma(t))(weight_schedule(0.5, 4.0, shape, power=3.0), t)
    np.testing.assert_allclose(found, 0.5 + 3.5 * share(1 - t), rtol=1e-5, atol=1e-6)


def test_a_scale_may_be_any_function_of_the_time():
    noise_level = lambda t: jnp.exp(-0.5 * SCHEDULE.log_snr(t))
    times = jnp.linspace(0.1, 0.9, 5)

    @jax.jit
    def both(scale):
        found = [classifier_free(COND, UNCOND, scale)(X, t) for t in (T, times)]
        expected = [classifier_free(COND, UNCOND, scale(t))(X, t) for t in (T, times)]
        return [*found, compose(UNCOND, [COND], [scale])(X, T)], [*expected, expected[0]]

    for scale in (Partial(noise_level), weight_schedule(0.0, 3.0)):
        same(*both(scale))
