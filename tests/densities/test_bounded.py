"""Bijections of bounded parameters against autodiff, and densities that they carry over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import densities

LIMITS = {
    "interval": (-1.0, 3.0),
    "above": (2.0, np.inf),
    "below": (-np.inf, -0.5),
    "free": (-np.inf, np.inf),
}
U = np.linspace(-6, 6, 25)


@pytest.mark.parametrize("name", LIMITS)
def test_a_bijection_is_inverted_within_its_bounds_and_its_log_det_is_the_derivative(name):
    limits = densities.bounds([LIMITS[name][0]], [LIMITS[name][1]])
    with jax.enable_x64(True):
        limits = densities.bounds(*([bound] for bound in LIMITS[name]))
        x = limits.from_unconstrained(jnp.asarray(U)[:, None])
        assert bool(limits.holds(x).all())
        assert np.all(np.diff(x[:, 0]) > 0)
        np.testing.assert_allclose(limits.to_unconstrained(x)[:, 0], U, rtol=1e-9, atol=1e-9)
        slope = jax.vmap(jax.grad(lambda x: limits.to_unconstrained(x[None])[0]))(x[:, 0])
        np.testing.assert_allclose(limits.log_det(x), np.log(slope), atol=1e-9)


def test_columns_are_independent_and_batched():
    limits = densities.bounds(*zip(*LIMITS.values(), strict=True))
    u = jax.random.normal(jax.random.key(0), (3, 2, 4))
    x = limits.from_unconstrained(u)
    np.testing.assert_allclose(limits.to_unconstrained(x), u, atol=1e-5)
    jacobian = jax.vmap(jax.vmap(jax.jacfwd(limits.to_unconstrained)))(x)
    np.testing.assert_allclose(limits.log_det(x), jnp.linalg.slogdet(jacobian)[1], rtol=1e-4, atol=1e-5)


def test_the_log_det_carries_the_logistic_density_over_to_the_uniform_one():
    """``sigmoid`` of a logistic variable is uniform: log p(u) = log sigmoid(u) + log sigmoid(-u)."""
    box = densities.uniform([-1.0, 2.0], [1.0, 7.0])
    x = box.sample(jax.random.key(1), (50,))
    u = box.bounds.to_unconstrained(x)
    logistic = jnp.sum(jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u), axis=-1)
    np.testing.assert_allclose(logistic + box.bounds.log_det(x), box.log_density(x), atol=1e-4)
    np.testing.assert_allclose(box.log_density(x), -np.log(10.0), rtol=1e-6)
    assert float(box.entropy()) == pytest.approx(np.log(10.0))
    assert box.log_density(jnp.array([[0.0, 8.0]]))[0] == -jnp.inf
    drawn = np.asarray(box.sample(jax.random.key(2), (20_000,)))
    np.testing.assert_allclose(drawn.mean(0), [0.0, 4.5], atol=0.05)
    np.testing.assert_allclose(drawn.std(0), np.array([2.0, 5.0]) / np.sqrt(12), rtol=0.02)


def test_at_a_bound_u_is_infinite_and_beyond_it_nan():
    limits = densities.bounds([0.0], [1.0])
    assert limits.to_unconstrained(jnp.array([[0.0], [1.0]])).ravel().tolist() == [-np.inf, np.inf]
    assert bool(jnp.isnan(limits.to_unconstrained(jnp.array([[1.5]]))).all())
    assert limits.holds(jnp.array([[0.0], [0.5]])).tolist() == [False, True]


def test_no_point_reaches_a_bound():
    limits = densities.bounds([0.0, 0.0, -2.0, -1.0, 3.0], [1.0, np.inf, 5.0, 0.0, 3e38])
    u = jnp.array([[17.0], [-17.0], [80.0], [-1e3], [jnp.inf], [-jnp.inf]]) * jnp.ones(5)
    x = jax.jit(limits.from_unconstrained)(jnp.where(jnp.arange(5) == 1, -jnp.abs(u), u))
    assert limits.holds(x).all()
    assert jnp.isfinite(limits.to_unconstrained(x)).all()
