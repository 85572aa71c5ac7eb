"""Inverse problems: exact posteriors of Gaussian data, and the contracts."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from problems import level, of_leaves, posterior
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, process, samplers, schedules, solvers
from scorekit.guidance import classifier_free, dps, mmps, operators, pigdm, replacement
from scorekit.guidance._linear_systems import conjugate_gradients

RNG = np.random.default_rng(0)
D, M, B = 6, 3, 4
FACTOR, MEAN, MATRIX = RNG.normal(size=(D, D)), RNG.normal(size=D), RNG.normal(size=(M, D))
COVARIANCE = FACTOR @ FACTOR.T / D + 0.1 * np.eye(D)
Y, X = RNG.normal(size=(B, M)), RNG.normal(size=(B, D))
KINDS = ("cosine", "edm", "rectified_flow", "sub_vp", "laplace", "ddpm_table")
RULES = {
    "replacement": partial(replacement, num_iterations=M),
    "pigdm": partial(pigdm, num_iterations=M),
    "mmps": partial(mmps, num_iterations=M),
    "dps": dps,
}
COSINE = schedules.Cosine()


def project(x):
    return x @ MATRIX.T


def full(schedule):
    prior = densities.gaussian(jnp.asarray(MEAN), covariance=jnp.asarray(COVARIANCE))
    return denoisers.exact_denoiser(prior, schedule)


def moments_at(schedule, t, noise_std, x_t, covariance=COVARIANCE):
    """``E[x0 | x_t, y]`` and ``E[eps | x_t, y]`` by Gaussian elimination."""
    mean, rest = posterior(MEAN, covariance, MATRIX, Y, noise_std)
    alpha, sigma = map(float, level(schedule, t))
    whitened = np.linalg.solve(alpha**2 * rest + sigma**2 * np.eye(D), (x_t - alpha * mean).T).T
    return mean + alpha * whitened @ rest, sigma * whitened


def state(schedule, t):
    return float(schedule.alpha(t)) * MEAN + float(schedule.sigma(t)) * X


@pytest.mark.parametrize(
    "name", [name if name in ("edm", "sub_vp") else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]
)
@in_float64
def test_mmps_is_exact_for_gaussian_data(name):
    """To machine precision at every t; at t = 1, where alpha may be 0, x0 to its root."""
    schedule = SCHEDULES[name].make()
    for noise_std, times in ((0.4, (0.02, 0.3, 0.8)), (0.0, (0.3, 0.8))):
        rule = mmps(full(schedule), schedule, project, jnp.asarray(Y), noise_std, num_iterations=M + 2)
        for t in (*times, 1.0):
            x_t = state(schedule, t)
            x0, eps = moments_at(schedule, t, noise_std, x_t)
            found = rule(jnp.asarray(x_t), t)
            of_x0, of_eps = (1e-9, 1e-6) if t < 1 else (1e-6 if name != "laplace" else 2e-3, 1e-10)
            np.testing.assert_allclose(found.x0, x0, rtol=1e-8 if t < 1 else 1e-6, atol=of_x0)
            np.testing.assert_allclose(found.eps, eps, rtol=of_eps, atol=of_eps)


@pytest.mark.parametrize("rule", [replacement, pigdm])
@pytest.mark.parametrize("noise_std", [0.0, 0.4])
@in_float64
def test_pigdm_and_replacement_are_exact_for_round_data_of_matched_std(rule, noise_std):
    std = 0.7
    for schedule in (COSINE, schedules.EDM(), schedules.SubVP()):
        prior = denoisers.exact_denoiser(densities.gaussian(jnp.asarray(MEAN), std=std), schedule)
        guided = rule(prior, schedule, project, jnp.asarray(Y), noise_std, data_std=std, num_iterations=M)
        for t in (0.1, 0.5, 0.97):
            x_t = state(schedule, t)
            x0, eps = moments_at(schedule, t, noise_std, x_t, std**2 * np.eye(D))
            found = guided(jnp.asarray(x_t), t)
            np.testing.assert_allclose(found.x0, x0, rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(found.eps, eps, rtol=1e-7, atol=1e-7)
        other = rule(prior, schedule, project, jnp.asarray(Y), 0.4, data_std=2 * std, num_iterations=M)
        right, _ = moments_at(schedule, t, 0.4, x_t, std**2 * np.eye(D))
        assert np.abs(other(jnp.asarray(x_t), t).x0 - right).max() > 0.01  # the match matters


@in_float64
def test_dps_is_the_gradient_of_its_likelihood():
    t, noise_std = 0.4, 0.8
    denoiser, nonlinear = full(COSINE), lambda x: jnp.tanh(project(x))

    def log_likelihood(x):
        return -0.5 * jnp.sum((Y - nonlinear(denoiser(x, t).x0)) ** 2) / noise_std**2

    @jax.jit
    def both(x_t):
        guided = process.score(COSINE, dps(denoiser, COSINE, nonlinear, Y, noise_std)(x_t, t), t)
        return guided, process.score(COSINE, denoiser(x_t, t), t) + jax.grad(log_likelihood)(x_t)

    guided, expected = both(state(COSINE, t))
    np.testing.assert_allclose(guided, expected, rtol=1e-10)


@in_float64
def test_affine_operators_are_linearised_exactly():
    shifted = mmps(full(COSINE), COSINE, lambda x: project(x) + 5.0, jnp.asarray(Y) + 5.0, 0.4, num_iterations=M + 2)
    x_t = state(COSINE, 0.5)
    np.testing.assert_allclose(shifted(jnp.asarray(x_t), 0.5).x0, moments_at(COSINE, 0.5, 0.4, x_t)[0], rtol=1e-9)


def test_noiseless_observations_are_satisfied():
    keep = operators.mask(np.arange(D) % 2 == 0)
    x = state(COSINE, 0.5).astype(np.float32)

    @jax.jit
    def run(x, y):
        y, prior = keep(y), full(COSINE)
        rules = replacement(prior, COSINE, keep, y), mmps(prior, COSINE, keep, y, num_iterations=8)
        found = [rule(x, 0.5).x0 for rule in rules]
        return y, prior(x, 0.5).x0, found, [keep(x0) for x0 in found]

    y, plain, (x0, _), observed = jax.tree.map(np.asarray, run(x, X.astype(np.float32)))
    for values in observed:
        np.testing.assert_allclose(values, y, atol=2e-4)
    np.testing.assert_allclose((x0 - y)[:, 1::2], plain[:, 1::2], rtol=1e-5)  # the rest is left alone


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("t", [0.0, "each"])
def test_inverse_methods_are_finite_at_both_ends_and_preserve_x_t(name, t):
    times = jnp.linspace(0.0, 1.0, B) if t == "each" else t
    x = jnp.asarray(X, jnp.float32)
    for schedule in (COSINE, schedules.EDM(sigma_min=0.0, sigma_max=80.0)):
        for noise_std in (0.5, 0.0)[: 1 if name == "dps" else 2]:
            found = RULES[name](full(schedule), schedule, project, jnp.asarray(Y, jnp.float32), noise_std)(x, times)
            assert all(bool(jnp.isfinite(leaf).all()) for leaf in found)
            alpha, sigma = (np.reshape(f(times), (-1, 1)) for f in (schedule.alpha, schedule.sigma))
            clean = np.broadcast_to(sigma == 0, x.shape)
            rebuilt = np.where(clean, x, alpha * found.x0 + sigma * found.eps)
            np.testing.assert_allclose(rebuilt, x, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", RULES)
def test_inverse_methods_are_independent_across_examples(name):
    x, y, stds = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32), jnp.linspace(0.3, 0.9, B)
    y = y * jnp.array([[100.0], [1.0], [0.01], [1.0]])
    times = jnp.linspace(0.3, 0.8, B)
    together = RULES[name](full(COSINE), COSINE, project, y, stds)(x, times).x0
    alone = RULES[name](full(COSINE), COSINE, project, y[2:3], stds[2])(x[2:3], times[2]).x0
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_jit_vmap_grad_and_no_recompilation(name):
    x = X.astype(np.float32)
    chex.clear_trace_counter()  # of the other rules

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(rule):
        return rule(x, 0.5).x0

    make = lambda noise_std, y: RULES[name](full(COSINE), COSINE, Partial(project), y, noise_std)
    y = Y.astype(np.float32)
    one, other = (np.asarray(run(rule)) for rule in (make(0.5, y), make(0.7, 2 * y)))
    assert np.abs(one - other).max() > 0.01
    several = jax.jit(jax.vmap(lambda noise_std: make(noise_std, y)(x, 0.5).x0))(np.float32([0.5, 0.9]))
    np.testing.assert_allclose(several[0], one, rtol=1e-4, atol=1e-5)
    loss = lambda noise_std: jnp.sum(make(noise_std, y)(x, 0.5).x0 ** 2)
    measure = jax.jit(jax.value_and_grad(loss))
    slope = (measure(0.51)[0] - measure(0.49)[0]) / 0.02
    assert float(measure(0.5)[1]) == pytest.approx(float(slope), rel=0.02)


@pytest.mark.slow
def test_trees_and_bfloat16():
    """A tree of two independent halves is two problems; a bfloat16 state keeps its dtype."""
    prior = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(D), std=0.7), COSINE)
    both = of_leaves(a=prior, b=prior)
    x, y = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)
    tree = {"a": x, "b": x.astype(jnp.bfloat16)}
    observed = {"a": y, "b": y.astype(jnp.bfloat16)}
    matrix = jnp.asarray(MATRIX, jnp.bfloat16)
    operator = lambda x: {"a": project(x["a"]), "b": x["b"] @ matrix.T}
    for name, rule in RULES.items():
        found = rule(both, COSINE, operator, observed, 0.5)(tree, 0.5)
        assert found.x0["b"].dtype == found.eps["b"].dtype == jnp.bfloat16
        assert found.x0["a"].dtype == jnp.float32
        if name == "dps":
            alone = rule(prior, COSINE, project, y, 0.5)(x, 0.5)
            np.testing.assert_allclose(found.x0["a"], alone.x0, rtol=1e-4, atol=1e-4)
        assert bool(jnp.isfinite(found.x0["b"]).all())


@pytest.mark.parametrize("name", RULES)
def test_an_observation_of_another_dtype_is_taken_as_that_of_the_data(name):
    prior, x = full(COSINE), jnp.asarray(X, jnp.float32)
    single, half = (RULES[name](prior, COSINE, project, jnp.asarray(Y, d), 0.5) for d in (jnp.float32, jnp.bfloat16))
    assert half(x.astype(jnp.bfloat16), 0.5).x0.dtype == jnp.bfloat16
    np.testing.assert_allclose(half(x, 0.5).x0, single(x, 0.5).x0, atol=0.1)


@pytest.mark.parametrize("name", RULES)
def test_a_float32_prediction_of_a_bfloat16_state_is_conditioned_in_float32(name):
    prior, x = full(COSINE), jnp.asarray(X, jnp.bfloat16)
    mixed = lambda x_t, t: prior(x_t.astype(jnp.float32), t)
    rule = lambda denoiser: RULES[name](denoiser, COSINE, project, jnp.asarray(Y, jnp.float32), 0.5)
    found, expected = rule(mixed)(x, 0.5).x0, rule(prior)(x.astype(jnp.float32), 0.5).x0
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_composes_with_guidance_and_a_solver_reaches_the_posterior():
    """mmps on classifier-free guidance at scale 1 is mmps on the conditional; a fine ODE gives the closed form."""
    guided = classifier_free(full(COSINE), full(COSINE), 3.0)
    rule = mmps(guided, COSINE, Partial(project), jnp.asarray(Y, jnp.float32), 0.4, num_iterations=5)
    sample = jax.jit(samplers.sample)
    mean, _ = posterior(MEAN, COVARIANCE, MATRIX, Y, 0.4)
    start = np.zeros((B, D), np.float32)  # the mean of the prior at t = 1 goes to the mean of the posterior
    found = sample(rule, COSINE, solvers.AdamsBashforth(), start, solvers.grids.uniform(60))
    np.testing.assert_allclose(found, mean, atol=5e-3)


@in_float64
def test_conjugate_gradients_match_numpy():
    spd = FACTOR @ FACTOR.T + 0.5 * np.eye(D)
    b = jnp.asarray(X) * jnp.array([[1.0], [0.0], [1e-6], [1e6]])
    found = conjugate_gradients(lambda u: u @ spd, b, num_iterations=D + 2)
    np.testing.assert_allclose(found, np.linalg.solve(spd, b.T).T, rtol=1e-7, atol=1e-15)
    negative = conjugate_gradients(lambda u: -u, b, num_iterations=3)
    np.testing.assert_array_equal(negative, np.zeros_like(b))
