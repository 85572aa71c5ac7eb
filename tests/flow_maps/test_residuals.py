"""The losses of flow maps: zero with zero gradient at the exact map, and the published losses elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import GAUSSIANS, plane
from tables import SCHEDULES, in_float64

from scorekit import denoisers, densities, flow_maps, schedules
from scorekit.flow_maps import eulerian_loss, lagrangian_loss, semigroup_loss
from scorekit.typing import Prediction

TIMES = np.array([1.0, 0.9, 0.6, 0.4, 0.3])
ENDS = np.array([0.0, 0.5, 0.61, 0.9, 0.3])  # towards data and towards noise
LOSSES = {
    "eulerian": lambda f, *args, velocity: eulerian_loss(f, *args, velocity=velocity),
    "angle": lambda f, *args, velocity: eulerian_loss(f, *args, velocity=velocity, coordinate="angle", normalise=0.1),
    "improved": lambda f, *args, velocity: eulerian_loss(f, *args, velocity=velocity, tangent=f),
    "itself": lambda f, *args, velocity: eulerian_loss(f, *args, velocity=f),
    "lagrangian": lambda f, *args, velocity: lagrangian_loss(f, *args, velocity=velocity),
    "lagrangian, itself": lambda f, *args, velocity: lagrangian_loss(f, *args),
    "semigroup": lambda f, schedule, x0, eps, t, s, velocity: semigroup_loss(
        f, schedule, x0, eps, t, 0.6 * t + 0.4 * s, s
    ),
}
SOME = ("cosine", "sub_vp", "geometric_ve", "rectified_flow", "learned")


def scaled(flow_map, factor):
    return lambda x, t, s=None: jax.tree.map(lambda leaf: factor * leaf, flow_map(x, t, s))


def values_and_gradients(schedule, data, names, factor=1.0, steps=64):
    """Of every loss, along a factor of the exact map."""
    x0, eps = data.sample(jax.random.key(0), TIMES.shape), jax.random.normal(jax.random.key(1), (len(TIMES), data.dim))
    exact, velocity = flow_maps.exact_map(data, schedule, steps), denoisers.exact_denoiser(data, schedule)

    @jax.jit
    def run(factor):
        loss = lambda name: lambda a: LOSSES[name](
            scaled(exact, a), schedule, x0, eps, jnp.asarray(TIMES), jnp.asarray(ENDS), velocity=velocity
        )
        return {name: (loss(name)(factor), jax.jacrev(loss(name))(factor)) for name in names}

    return run(factor)


@pytest.mark.parametrize("name", ["edm", *(pytest.param(n, marks=pytest.mark.slow) for n in SOME)])
@in_float64
def test_every_loss_and_its_gradient_vanish_at_the_exact_map_of_gaussian_data(name):
    names = ("eulerian", "angle", "lagrangian", "semigroup") if name in SOME else LOSSES
    for found in values_and_gradients(SCHEDULES[name].make(), plane(), names).values():
        np.testing.assert_allclose(found[0], 0.0, atol=1e-18)
        np.testing.assert_allclose(found[1], 0.0, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["1 dimension", "9 dimensions", "mixture"])
@in_float64
def test_losses_vanish_in_any_dimension_and_for_mixtures(data):
    kinds = {**GAUSSIANS, "mixture": lambda: densities.ring(3, std=0.4)}
    rough = 1e-8 if data == "mixture" else 1e-18
    names = ("eulerian", "angle", "lagrangian", "semigroup")
    for value, slope in values_and_gradients(schedules.Cosine(), kinds[data](), names, steps=32).values():
        np.testing.assert_allclose(value, 0.0, atol=rough)
        np.testing.assert_allclose(slope, 0.0, atol=np.sqrt(rough))


@pytest.mark.slow
@in_float64
def test_no_loss_vanishes_at_another_map():
    found = values_and_gradients(schedules.Cosine(), plane(), LOSSES, factor=1.1)
    for name, (value, _) in found.items():
        assert value[1] > 1e-5, name


@pytest.mark.slow
@in_float64
def test_training_from_scratch_has_the_exact_map_as_its_mean_target():
    """Examples of the posterior of one state, whose mean is exact: their mean gradient vanishes, but no single one."""
    schedule, std, t, s = schedules.LinearVP(), 0.6, np.array([0.7, 0.7]), np.array([0.2, 0.2])
    data = densities.gaussian(jnp.array([0.4]), std=std)
    exact, alpha, sigma = flow_maps.exact_map(data, schedule), schedule.alpha(0.7), schedule.sigma(0.7)
    x_t = jnp.ones((2, 1))
    spread = std * sigma / jnp.hypot(alpha * std, sigma)
    x0 = exact(x_t, 0.7).x0 + spread * jnp.array([[1.0], [-1.0]])
    eps = (x_t - alpha * x0) / sigma
    losses = {
        "MeanFlow": lambda f: eulerian_loss(f, schedule, x0, eps, t, s),
        "improved": lambda f: eulerian_loss(f, schedule, x0, eps, t, s, tangent=f),
        "sCM": lambda f: eulerian_loss(f, schedule, x0, eps, t, 0 * s, coordinate="angle"),
    }
    for name, loss in losses.items():
        slopes = jax.jit(jax.jacrev(lambda a, loss=loss: loss(scaled(exact, a))))(1.0)
        np.testing.assert_allclose(slopes.sum(), 0.0, atol=1e-9, err_msg=name)
        assert np.abs(slopes[0]) > 1e-3


@pytest.mark.slow
@in_float64
def test_losses_are_the_published_ones_on_their_own_schedules():
    """With the derivative along the path from central differences instead of forward mode."""
    rng, h = np.random.default_rng(0), 1e-5
    x0, eps = jnp.asarray(rng.normal(size=(2, 3, 2)))
    t, s = jnp.array([0.9, 0.5, 0.4]), jnp.array([0.1, 0.3, 0.4])
    wide = lambda a: a[:, None]
    f = lambda x, t, s: jnp.tanh(x * wide(1 + t) + wide(s)) - wide(t * s)

    schedule = schedules.RectifiedFlow()
    flow_map = flow_maps.flow_map_from_network(f, schedule, "velocity")
    x, v = wide(1 - t) * x0 + wide(t) * eps, eps - x0
    slope = (f(x + h * v, t + h, s) - f(x - h * v, t - h, s)) / (2 * h)
    target = v - wide(t - s) * slope
    expected = jnp.mean((f(x, t, s) - target) ** 2, -1)
    np.testing.assert_allclose(eulerian_loss(flow_map, schedule, x0, eps, t, s), expected, rtol=1e-7)

    predicted = f(x, t, t)
    slope = (f(x + h * predicted, t + h, s) - f(x - h * predicted, t - h, s)) / (2 * h)
    expected = jnp.mean((f(x, t, s) + wide(t - s) * slope - v) ** 2, -1)
    found = eulerian_loss(flow_map, schedule, x0, eps, t, s, tangent=flow_map)
    np.testing.assert_allclose(found, expected, rtol=1e-7)

    x_s = x + wide(s - t) * f(x, t, s)
    moved = lambda s: x + wide(s - t) * f(x, t, s)
    expected = jnp.mean(((moved(s + h) - moved(s - h)) / (2 * h) - f(x_s, s, s)) ** 2, -1)
    np.testing.assert_allclose(lagrangian_loss(flow_map, schedule, x0, eps, t, s)[:2], expected[:2], rtol=1e-6)

    m = (t + s) / 2
    u1 = f(x, t, m)
    u2 = f(x + wide(m - t) * u1, m, s)
    expected = jnp.mean((f(x, t, s) - (u1 + u2) / 2) ** 2, -1)
    np.testing.assert_allclose(semigroup_loss(flow_map, schedule, x0, eps, t, m, s)[:2], expected[:2], rtol=1e-9)
    u1 = f(x, t, t)
    u2 = f(x + wide(m - t) * u1, m, m)
    expected = jnp.mean((f(x, t, s) - (u1 + u2) / 2) ** 2, -1)
    found = semigroup_loss(flow_map, schedule, x0, eps, t, m, s, shortest=0.5)
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-9)

    schedule, r, zero = schedules.Cosine(), 0.3, 0 * t  # TrigFlow
    cos, sin = wide(jnp.cos(t * np.pi / 2)), wide(jnp.sin(t * np.pi / 2))
    flow_map = flow_maps.flow_map_from_network(f, schedule, "v")
    x, v = cos * x0 + sin * eps, cos * eps - sin * x0
    dt = 2 / np.pi
    slope = (f(x + h * v, t + h * dt, zero) - f(x - h * v, t - h * dt, zero)) / (2 * h)
    g = -(cos**2) * (f(x, t, zero) - v) - r * cos * sin * (x + slope)
    g = g / (jnp.sqrt(jnp.mean(g**2, -1, keepdims=True)) + 0.1)
    options = {"coordinate": "angle", "normalise": 0.1, "warmup": r}
    found = eulerian_loss(flow_map, schedule, x0, eps, t, zero, **options)
    np.testing.assert_allclose(found, jnp.mean(g**2, -1), rtol=1e-6)


@pytest.mark.slow
@in_float64
def test_equal_times_and_no_warm_up_are_flow_matching():
    schedule, rng = schedules.LinearVP(), np.random.default_rng(0)
    x0, eps = jnp.asarray(rng.normal(size=(2, 3, 2)))
    flow_map = flow_maps.flow_map_from_network(lambda x, t, s: jnp.tanh(x) * (1 + s)[:, None], schedule, "v")
    t = jnp.array([1.0, 0.5, 0.01])
    x = schedule.alpha(t)[:, None] * x0 + schedule.sigma(t)[:, None] * eps
    error = jax.tree.map(lambda a, b: a - b, flow_map(x, t), Prediction(x0, eps))
    expected = jnp.mean((error.eps - error.x0) ** 2, -1)
    np.testing.assert_allclose(eulerian_loss(flow_map, schedule, x0, eps, t, t), expected, rtol=1e-4)
    one_time = lambda x, t, s=None: flow_map(x, t)
    found = eulerian_loss(one_time, schedule, x0, eps, t, 0.1 * t, warmup=0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_adaptive_weight_scales_the_gradient_and_not_its_direction():
    found = jax.grad(lambda x: flow_maps.adaptive_weighted(x**2, 1.0, 0.25).sum())(jnp.array([0.5, 2.0]))
    np.testing.assert_allclose(found, [1 / 0.5, 4 / 4.25], rtol=1e-6)
    np.testing.assert_allclose(flow_maps.adaptive_weighted(jnp.array([3.0]), 0.0), [3.0])


def test_a_middle_time_outside_of_the_jump_raises_and_traced_gives_nan():
    schedule, x, t = schedules.Cosine(), jnp.ones((2, 1)), jnp.array([0.5, 0.2])
    flow_map = flow_maps.flow_map_from_network(lambda x, t, s: x, schedule)
    run = lambda middle: semigroup_loss(flow_map, schedule, x, x, t, middle, jnp.array([0.1, 0.3]))
    with pytest.raises(ValueError, match="middle must be between s = "):
        run(jnp.array([0.3, 0.1]))
    assert np.isnan(jax.jit(run)(jnp.array([0.3, 0.1]))).tolist() == [False, True]


def test_network_without_forward_derivative_is_named():
    @jax.custom_vjp
    def fused(x):
        return jnp.tanh(x)

    fused.defvjp(lambda x: (fused(x), x), lambda x, g: (g,))
    schedule, x, t = schedules.Cosine(), jnp.ones((2, 1)), jnp.array([0.5, 0.2])
    flow_map = flow_maps.flow_map_from_network(lambda x, t, s: fused(x), schedule)
    with pytest.raises(ValueError, match="flow_map must have a forward-mode derivative"):
        eulerian_loss(flow_map, schedule, x, x, t, 0 * t)
    assert semigroup_loss(flow_map, schedule, x, x, t, 0.5 * t, 0 * t).shape == (2,)


def test_a_negative_loss_has_no_adaptive_weight():
    losses = jnp.array([-0.005, 1.0])
    with pytest.raises(ValueError, match="loss must be >= 0, got"):
        flow_maps.adaptive_weighted(losses)
    found = jax.jit(flow_maps.adaptive_weighted)(losses)
    np.testing.assert_allclose(found, [np.nan, 1 / 1.01], rtol=1e-6)
