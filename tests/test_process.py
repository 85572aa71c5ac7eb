"""The forward process against differentiation, dense Gaussian algebra and Bayes' rule."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import SCHEDULES, B, in_float64

from scorekit import process
from scorekit.schedules import Cosine, GeometricVE, LinearVP, RectifiedFlow
from scorekit.typing import Prediction

T = np.linspace(0.03, 0.9701, B)  # off the knots of every table
H = 1e-6


def for_schedule(function, name):
    """Compiled where ``time_at`` is a loop, which eagerly would be compiled at every call."""
    return jax.jit(function) if name == "shifted_functions" else function


def rates(schedule, t):
    own = process.drift(schedule, t), process.diffusion_squared(schedule, t)
    bare = types.SimpleNamespace(alpha=schedule.alpha, sigma=schedule.sigma, log_snr=schedule.log_snr)
    found = process.drift(bare, t), process.diffusion_squared(bare, t)
    variance = lambda t: jnp.square(schedule.sigma(t))
    numeric = (
        (variance(t + H) - variance(t - H)) / (2 * H),
        (jnp.log(schedule.alpha(t + H) / schedule.alpha(t - H))) / (2 * H),
    )
    return own, found, numeric, variance(t)


@pytest.mark.parametrize("name", SCHEDULES)
@in_float64
def test_drift_and_diffusion_agree_with_autodiff_and_their_definition(name):
    (f, g2), (f_auto, g2_auto), (variance_rate, log_alpha_rate), variance = for_schedule(rates, name)(
        SCHEDULES[name].make(), T
    )
    np.testing.assert_allclose(f, f_auto, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(g2, g2_auto, rtol=1e-9)
    np.testing.assert_allclose(f, log_alpha_rate, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(g2, variance_rate - 2 * f * variance, rtol=1e-5, atol=1e-8)


def kernels(schedule, r, s, t):
    marginals = [(schedule.alpha(x), schedule.sigma(x)) for x in (r, s, t)]
    pairs = process.transition(schedule, s, r), process.transition(schedule, t, s), process.transition(schedule, t, r)
    return marginals, pairs, process.posterior(schedule, t, s)


@pytest.mark.parametrize("name", SCHEDULES)
@in_float64
def test_transitions_compose_and_the_posterior_is_bayes(name):
    marginals, pairs, posterior = for_schedule(kernels, name)(SCHEDULES[name].make(), T / 2, T - 0.01, T)
    (_, _), (alpha_s, sigma_s), (alpha_t, sigma_t) = marginals
    first, second, both = ((k.scales[0], k.std**2) for k in pairs)
    # Chapman-Kolmogorov.
    np.testing.assert_allclose(second[0] * first[0], both[0], rtol=1e-10)
    np.testing.assert_allclose(second[0] ** 2 * first[1] + second[1], both[1], rtol=1e-8)
    # The marginal goes to the marginal.
    np.testing.assert_allclose(second[0] * alpha_s, alpha_t, rtol=1e-10)
    np.testing.assert_allclose(second[0] ** 2 * sigma_s**2 + second[1], sigma_t**2, rtol=1e-10)
    # q(x_s | x0) times q(x_t | x_s), by adding precisions.
    scale, variance = second
    precision = 1 / sigma_s**2 + scale**2 / variance
    np.testing.assert_allclose(posterior.std**2, 1 / precision, rtol=1e-8)
    np.testing.assert_allclose(posterior.scales[0], scale / variance / precision, rtol=1e-8)
    np.testing.assert_allclose(posterior.scales[1], alpha_s / sigma_s**2 / precision, rtol=1e-8)


@pytest.mark.parametrize("name", ["cosine", "rectified_flow", "sigmoid", "laplace", "shifted_flow"])
def test_kernels_are_exact_where_alpha_or_sigma_vanishes(name):
    schedule = SCHEDULES[name].make()
    to_noise, from_data = process.transition(schedule, 1.0, 0.5), process.transition(schedule, 0.5, 0.0)
    assert (to_noise.scales[0], to_noise.std) == (0.0, 1.0)
    np.testing.assert_allclose(
        [from_data.scales[0], from_data.std], [schedule.alpha(0.5), schedule.sigma(0.5)], rtol=1e-6
    )
    to_data = process.posterior(schedule, 0.5, 0.0)
    assert (*to_data.scales, to_data.std) == (0.0, 1.0, 0.0)
    whole = process.posterior(schedule, 1.0, 0.0)
    assert (*whole.scales, whole.std) == (0.0, 1.0, 0.0)
    first = process.posterior(schedule, 1.0, 0.5)
    np.testing.assert_allclose(
        [*first.scales, first.std], [0.0, schedule.alpha(0.5), schedule.sigma(0.5)], rtol=1e-6, atol=0
    )


def test_the_variance_of_a_transition_is_one_minus_the_ratio():
    schedule = LinearVP()
    expected = -np.expm1(np.float64(schedule.log_snr(0.6)) - np.float64(schedule.log_snr(0.59)))
    noise = process.transition(schedule, 0.6, 0.59).std / schedule.sigma(0.6)
    assert noise**2 == pytest.approx(expected, rel=1e-4)
    assert process.transition(schedule, 0.6, 0.6).std == 0.0


def test_perturb_preserves_tree_and_dtype():
    x0 = {"a": jnp.ones((2, 3)), "b": jnp.full((2,), 2.0, jnp.bfloat16)}
    eps = jax.tree.map(lambda x: -jnp.ones_like(x), x0)
    out = process.perturb(RectifiedFlow(), x0, eps, jnp.array([0.0, 0.75]))
    np.testing.assert_array_equal(out["a"], [[1, 1, 1], [-0.5, -0.5, -0.5]])
    np.testing.assert_array_equal(out["b"].astype(jnp.float32), [2.0, -0.25])
    assert out["b"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("schedule", "std"), [(GeometricVE(sigma_min=0.01, sigma_max=50.0), 50.0), (Cosine(), 1.0), (LinearVP(), 0.99998)]
)
def test_prior_has_the_noise_of_the_last_time(schedule, std):
    like = {"a": jax.ShapeDtypeStruct((400, 50), jnp.float32), "b": jax.ShapeDtypeStruct((3,), jnp.bfloat16)}
    x = process.sample_prior(jax.random.key(0), schedule, like)
    assert float(x["a"].std()) == pytest.approx(std, rel=0.02)
    assert x["b"].dtype == jnp.bfloat16
    half = process.sample_prior(jax.random.key(0), schedule, like["a"], t=0.5)
    np.testing.assert_allclose(half, schedule.sigma(0.5) * jax.random.normal(jax.random.key(0), (400, 50)), rtol=1e-6)


def test_score_is_the_gradient_of_the_conditional_log_density():
    schedule, x0, eps, t = Cosine(), jnp.array([1.0, -2.0]), jnp.array([0.3, 0.4]), 0.3
    x_t = process.perturb(schedule, x0, eps, t)
    log_density = lambda x: -0.5 * jnp.sum(jnp.square((x - schedule.alpha(t) * x0) / schedule.sigma(t)))
    np.testing.assert_allclose(process.score(schedule, Prediction(x0, eps), t), jax.grad(log_density)(x_t), rtol=1e-5)


def test_a_shape_in_place_of_an_array_is_named_with_the_remedy():
    with pytest.raises(ValueError, match=r"like must be an array .* shape \(256, 2\): jnp.zeros\(\(256, 2\)\)"):
        process.sample_prior(jax.random.key(0), Cosine(), (256, 2))
