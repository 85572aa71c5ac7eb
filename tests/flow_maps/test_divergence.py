"""Log-determinants of flow maps and the loss of divergence heads, against log-densities and Jacobians."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import GAUSSIANS, plane
from tables import SCHEDULES, in_float64

from scorekit import densities, flow_maps, schedules
from scorekit.denoisers import exact_denoiser
from scorekit.flow_maps import divergence_loss, exact_log_det, exact_map, jacobian_log_det, log_det_from_network

SOME = {"mixture": lambda: densities.ring(3, std=0.4), **GAUSSIANS}
COSINE = schedules.Cosine()


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "mixture" else n for n in SOME])
@in_float64
def test_exact_log_determinant_is_that_of_the_jacobian_in_both_directions(name):
    data = SOME[name]()
    x, t, s = data.sample(jax.random.key(0), (3,)), jnp.array([0.2, 0.9, 0.5]), jnp.array([0.8, 0.1, 0.5])
    exact, by_jacobian = exact_log_det(data, COSINE), jacobian_log_det(exact_map(data, COSINE), COSINE)
    found = jax.jit(lambda t, s: (exact(x, t, s), by_jacobian(x, t, s)))
    for times in ((t, s), (0.3, 1.0)):
        np.testing.assert_allclose(*found(*times), atol=1e-6)
    assert found(t, s)[0][2] == 0.0


@pytest.mark.parametrize("name", ["2 dimensions", pytest.param("mixture", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("t", "s"), [(0.1, 1.0), (0.95, 0.2)])
@in_float64
def test_the_mean_target_of_a_head_is_the_integral_of_the_divergence(name, t, s):
    """Over a grid of places on the jump and all signs of the probe; the target is found by the gradient at 0."""
    data, schedule, n = SOME[name](), schedules.RectifiedFlow(), 300
    signs = jnp.array(list(itertools.product([-1.0, 1.0], repeat=2)))
    places, probe = jnp.repeat((jnp.arange(n) + 0.5) / n, 4), jnp.tile(signs, (n, 1))
    x0, eps = (jnp.tile(jnp.array(value), (4 * n, 1)) for value in ([1.0, -0.3], [0.2, 0.5]))
    exact, times = exact_map(data, schedule, 16), (jnp.full(4 * n, t), jnp.full(4 * n, s))

    @jax.jit
    def gradient(h):
        return jax.grad(
            lambda h: divergence_loss(
                lambda *_: h,
                exact,
                schedule,
                x0,
                eps,
                *times,
                fraction=places,
                probe=probe,
                velocity=exact_denoiser(data, schedule),
            ).sum()
        )(h)

    best = -gradient(jnp.zeros_like(x0)).mean(0) * data.dim / 2
    x_t = (1 - t) * x0[:1] + t * eps[:1]
    found = log_det_from_network(lambda x, t, s: jnp.broadcast_to(best, x.shape), schedule)(x_t, t, s)
    np.testing.assert_allclose(found, exact_log_det(data, schedule)(x_t, t, s), atol=2e-4)


@pytest.mark.parametrize("name", ["rectified_flow", "edm"])
@in_float64
def test_log_likelihood_by_a_map_is_exact_in_any_number_of_jumps(name):
    data, schedule = plane(), SCHEDULES[name].make()
    x, flow_map, log_det = (
        data.sample(jax.random.key(0), (5,)),
        exact_map(data, schedule),
        exact_log_det(data, schedule),
    )
    latent = data.marginal(schedule.alpha(1.0), schedule.sigma(1.0))
    for n in (1, 3):
        ts = jnp.linspace(1.0, 0.0, n + 1)
        run = lambda x, ts=ts: flow_maps.flow_map_log_likelihood(flow_map, schedule, x, ts, log_det=log_det)
        found = jax.jit(run)(x)
        at_0 = data.marginal(schedule.alpha(0.0), schedule.sigma(0.0)).log_density(x)
        np.testing.assert_allclose(found.log_p, at_0 - latent.log_density(found.x_1) + found.prior, atol=1e-9)
        assert found.nfe == n
    density = lambda **how: flow_maps.flow_map_density(flow_map, schedule, (2,), 0.1, **how).log_density(x)
    np.testing.assert_allclose(density(log_det=log_det), density(), atol=1e-8)


def test_log_determinants_of_another_shape_are_an_error():
    x, wrong = jnp.ones((3, 2)), lambda x, t, s: x
    with pytest.raises(ValueError, match=r"log_det\(x_t, t, s\) must"):
        flow_maps.flow_map_log_likelihood(exact_map(plane(), COSINE), COSINE, x, [1.0, 0.0], log_det=wrong)


def test_a_jump_and_back_is_the_inversion_error():
    exact, x = exact_map(plane(), COSINE), plane().sample(jax.random.key(0), (4,))
    np.testing.assert_allclose(flow_maps.semigroup_error(exact, COSINE, x, 0.0, 1.0, 0.0), 0.0, atol=1e-10)
    doubled = lambda x, t, s: jax.tree.map(lambda leaf: jnp.where(s > t, 2.0, 1.0) * leaf, exact(x, t, s))
    error = flow_maps.semigroup_error(doubled, COSINE, x, 0.0, 1.0, 0.0)
    there = flow_maps.transport(exact, COSINE, 2.0 * flow_maps.transport(exact, COSINE, x, 0.0, 1.0), 1.0, 0.0)
    np.testing.assert_allclose(error, jnp.square(there - x).mean(1), rtol=1e-4)
