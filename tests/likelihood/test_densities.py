"""Models as densities: values and gradients against closed forms and against the derivative through the solver."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import plane, samples_agree
from tables import in_float64

from scorekit import flow_maps, schedules
from scorekit.denoisers import denoiser_from_network, exact_denoiser
from scorekit.densities import gaussian, mixture
from scorekit.likelihood import flow_density, line_density, log_likelihood, score_density

COSINE, NOISE = schedules.Cosine(), 0.05


def two_modes():
    covariances = 0.25 * jnp.eye(2), jnp.array([[0.3, 0.1], [0.1, 0.2]])
    means = jnp.array([-1.0, 0.5]), jnp.array([1.0, 0.0])
    return mixture([1, 2], [gaussian(m, covariance=c) for m, c in zip(means, covariances, strict=True)])


def smooth(data):
    """The data with the noise of the density."""
    return data.marginal(1.0, NOISE)


def gradient(log_density, x):
    return jax.grad(lambda x: jnp.sum(log_density(x)))(x)


@pytest.mark.slow
@in_float64
def test_the_gradient_is_the_score_and_the_derivative_of_the_solver():
    data, schedule, tight = two_modes(), COSINE, {"rtol": 1e-8, "atol": 1e-8}
    denoiser = exact_denoiser(data, schedule)
    density = flow_density(denoiser, schedule, (2,), NOISE, **tight)
    x, t = data.sample(jax.random.key(0), (4,)), density.time

    @jax.jit
    def found(x):
        ts = jnp.linspace(1.0, t, 257)
        through = lambda x: log_likelihood(denoiser, schedule, schedule.alpha(t) * x, ts=ts).log_p
        value, reverse = jax.vmap(jax.value_and_grad(density.log_density))(x)
        forward = jax.jvp(density.log_density, (x,), (jnp.ones_like(x),))[1]
        return value, reverse, forward, gradient(through, x)

    value, reverse, forward, through = found(x)
    exact = gradient(smooth(data).log_density, x)
    np.testing.assert_allclose(value, smooth(data).log_density(x), atol=1e-6)
    np.testing.assert_allclose(reverse, exact, atol=1e-10)
    np.testing.assert_allclose(reverse, through, atol=1e-5)
    np.testing.assert_allclose(forward, exact.sum(-1), atol=1e-10)


@pytest.mark.slow
@in_float64
def test_values_by_a_map_and_by_a_line_are_those_of_the_density():
    data, x = plane(), plane().sample(jax.random.key(0), (3, 2))
    exact = smooth(data)
    by_map = flow_maps.flow_map_density(flow_maps.exact_map(data, COSINE), COSINE, (2,), NOISE)
    np.testing.assert_allclose(by_map.log_density(x), exact.log_density(x), atol=1e-8)
    np.testing.assert_allclose(gradient(by_map.log_density, x), gradient(exact.log_density, x), atol=1e-8)
    start = jnp.array([0.3, -0.4])
    by_line = line_density(exact_denoiser(data, COSINE), COSINE, (2,), NOISE, start=start, num_nodes=2)
    found = by_line.log_density(x)
    np.testing.assert_allclose(found, exact.log_density(x) - exact.log_density(start), atol=1e-8)
    np.testing.assert_allclose(gradient(by_line.log_density, x), gradient(exact.log_density, x), atol=1e-8)


@pytest.mark.slow
@in_float64
def test_a_line_between_modes_converges_with_its_nodes():
    data, x = two_modes(), jnp.array([[-1.0, 0.5], [1.0, 0.0], [0.0, 1.0]])
    exact = smooth(data).log_density(x) - smooth(data).log_density(jnp.zeros(2))
    denoiser = exact_denoiser(data, COSINE)
    value = lambda n: line_density(denoiser, COSINE, (2,), NOISE, num_nodes=n).log_density(x)
    error = lambda n: np.abs(value(n) - exact).max()
    assert error(4) > 1e-4
    assert error(32) < 1e-9


@in_float64
def test_a_score_has_no_value_and_derivatives_of_any_order():
    data, x = plane(), jnp.array([0.3, -1.0])
    density = score_density(exact_denoiser(data, COSINE), COSINE, (2,), NOISE)
    assert np.isnan(density.log_density(x))
    both = jax.jit(jax.value_and_grad(density.log_density))
    np.testing.assert_allclose(both(x)[1], gradient(smooth(data).log_density, x), atol=1e-10)
    np.testing.assert_allclose(
        jax.hessian(density.log_density)(x), -jnp.linalg.inv(smooth(data).covariance()), atol=1e-8
    )


@pytest.mark.slow
def test_samples_have_the_noise_of_the_density():
    data = gaussian(jnp.array([1.0, -1.0]), covariance=jnp.array([[1.0, 0.6], [0.6, 0.5]]))
    density = score_density(exact_denoiser(data, COSINE), COSINE, (2,), 0.5, steps=100)
    assert density.sample(jax.random.key(0)).shape == (2,)
    x = jax.jit(lambda key: density.sample(key, (40, 100)))(jax.random.key(1)).reshape(-1, 2)
    noisy = data.marginal(1.0, 0.5)
    samples_agree(x, noisy.mean, noisy.covariance())


def test_new_parameters_do_not_retrace_and_are_constants():
    @chex.assert_max_traces(n=1)
    def network(gain, x, t):
        return gain * x

    @jax.jit
    def slope(density, x):
        return jax.grad(density.log_density)(x)

    at = lambda gain: score_density(
        denoiser_from_network(jax.tree_util.Partial(network, gain), COSINE), COSINE, (2,), NOISE
    )
    one = slope(at(jnp.array(0.1)), jnp.ones(2))
    assert not np.allclose(one, slope(at(jnp.array(0.2)), jnp.ones(2)))
    with pytest.raises(ValueError, match="x must be the only argument in which a log-density is differentiated"):
        jax.grad(lambda gain: at(gain).log_density(jnp.ones(2)))(0.1)


NORMAL = exact_denoiser(gaussian(np.zeros(2, np.float32), std=1.0), COSINE)


def test_traced_values_that_are_not_finite_give_nan():
    density = flow_density(NORMAL, COSINE, (2,), rtol=0.1, atol=0.1)
    assert np.isnan(jax.jit(density.log_density)(jnp.array([jnp.inf, 0.0])))
