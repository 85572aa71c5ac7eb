"""APG, CFG-Zero*, tangential and frequency-decoupled guidance, thresholds and rescaling, against naive numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_table import COND, SCHEDULE, UNCOND, T, X, once, same

from scorekit import Prediction, denoisers, predictions, samplers, schedules, solvers
from scorekit.guidance import (
    apg,
    cfg_zero_star,
    classifier_free,
    dynamic_threshold,
    frequency_decoupled,
    init_denoiser_state,
    rescale,
    static_threshold,
    tangential,
)
from scorekit.guidance._pyramids import from_pyramid, laplacian_pyramid

FLOW = schedules.RectifiedFlow()


def flat(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)


def published_apg(cond, uncond, scale, momentum, average, eta, threshold):
    """The guided estimate, and the running average of the published momentum buffer."""
    difference = average = cond - uncond + (momentum or 0.0) * average
    if threshold > 0:
        norm = np.linalg.norm(difference, axis=1, keepdims=True)
        difference = difference * np.minimum(1.0, threshold / norm)
    unit = cond / np.linalg.norm(cond, axis=1, keepdims=True)
    parallel = (difference * unit).sum(axis=1, keepdims=True) * unit
    return cond + (scale - 1) * (difference - parallel + eta * parallel), average


@pytest.mark.parametrize(
    ("eta", "momentum", "threshold"),
    [(0.0, None, 0.0), (0.3, None, 1.5), (1.0, -0.5, 0.0), (0.2, -0.75, 2.0), (1.0, None, 0.0), (1.0, 0.0, 0.0)],
)
def test_apg_matches_the_published_code_over_several_calls(eta, momentum, threshold):
    rule = apg(COND, UNCOND, SCHEDULE, 4.0, parallel=eta, momentum=momentum, norm_threshold=threshold or jnp.inf)
    state, average = init_denoiser_state(rule, X), 0.0
    predict = jax.jit(lambda rule, state, x, t: rule.predict(state, x, t))
    for k, t in enumerate((0.8, 0.6, 0.3)):
        x = X + 0.3 * k
        prediction, state = predict(rule, state, x, t)
        branches = (flat(d(x, t).x0) for d in (COND, UNCOND))
        expected, average = published_apg(*branches, 4.0, momentum, average, eta, threshold)
        np.testing.assert_allclose(flat(prediction.x0), expected, rtol=1e-4, atol=1e-4)
        if eta == 1.0 and not momentum:
            same(prediction, classifier_free(COND, UNCOND, 4.0)(x, t), rtol=1e-4, atol=1e-4)


def test_apg_has_a_gradient_where_the_branches_are_equal():
    loss = lambda x: once(apg(COND, COND, SCHEDULE, 4.0, momentum=0.3), x, T).x0.sum()
    plain = lambda x: COND(x, T).x0.sum()
    same(*jax.jit(lambda x: (jax.grad(loss)(x), jax.grad(plain)(x)))(X), atol=1e-4)


def from_velocity(value):
    return lambda x, t: predictions.Velocity().to_prediction(value, x, t, FLOW)


C, U = (jax.random.normal(jax.random.key(k), X.shape) for k in (1, 2))


def test_cfg_zero_star_matches_the_published_code():
    found = cfg_zero_star(from_velocity(C), from_velocity(U), FLOW, 3.0)(X, T)
    c, u = flat(C), flat(U)
    star = (c * u).sum(axis=1, keepdims=True) / ((u**2).sum(axis=1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(flat(found.eps - found.x0), u * star + 3.0 * (c - u * star), rtol=1e-4, atol=1e-4)


def test_cfg_zero_star_has_zero_velocity_above_its_noise_level():
    rule = cfg_zero_star(from_velocity(C), from_velocity(U), FLOW, 3.0, zero_above=24.0)
    times = jnp.array([1.0, 0.97, 0.9601, 0.9599, 0.5])
    moved = jnp.abs((lambda p: p.eps - p.x0)(rule(X, times))).max(axis=(1, 2)) > 1e-3
    assert moved.tolist() == [False, False, False, True, True]
    x = samplers.sample(rule, FLOW, solvers.Euler(), X, jnp.array([1.0, 0.98, 0.965]))
    same(x, X)


@pytest.mark.parametrize("target", ["v", "eps", "x0", "velocity"])
def test_tangential_against_a_singular_value_decomposition(target):
    value = lambda d: flat(predictions.as_target(target).from_prediction(d(X, T), T, SCHEDULE))
    found, c, u = map(value, (tangential(COND, UNCOND, SCHEDULE, 3.0, target), COND, UNCOND))
    expected = np.empty_like(c)
    for i in range(len(c)):
        _, _, right = np.linalg.svd(np.stack([u[i], c[i]]), full_matrices=False)
        damped = right[0] * (right[0] @ u[i])
        expected[i] = damped + 3.0 * (c[i] - damped)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_projections_are_taken_over_the_full_tree():
    x = {"a": X[..., 0], "b": X[..., 1]}
    split = lambda d: lambda tree, t: _split(d(jnp.stack([tree["a"], tree["b"]], axis=-1), t))
    builds = (
        lambda c, u: apg(c, u, SCHEDULE, 3.0, norm_threshold=1.0),
        lambda c, u: cfg_zero_star(c, u, SCHEDULE, 3.0),
        lambda c, u: tangential(c, u, SCHEDULE, 3.0),
    )
    trees = jax.jit(lambda: [build(split(COND), split(UNCOND))(x, T) for build in builds])()
    arrays = jax.jit(lambda: [_split(build(COND, UNCOND)(X, T)) for build in builds])()
    same(trees, arrays, rtol=1e-4, atol=1e-4)


def _split(prediction):
    return Prediction(*({"a": half[..., 0], "b": half[..., 1]} for half in prediction))


# ---- frequencies -----------------------------------------------------------------------------------------------------

KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def reduce_line(x):
    return np.convolve(np.pad(x, 2, mode="edge"), KERNEL, mode="valid")[::2]


def expand_line(x, n):
    """Zeros between the values, then twice the filter; the ends are continued by their values."""
    longer = np.pad(x, 2, mode="edge")
    stuffed = np.zeros(2 * len(longer))
    stuffed[::2] = longer
    return np.convolve(stuffed, 2 * KERNEL, mode="same")[4 : 4 + n]


def along(function, x, axis, *args):
    return np.apply_along_axis(function, axis, x, *args)


def numpy_pyramid(x, levels):
    bands = []
    for _ in range(levels - 1):
        small = x
        for axis in range(1, x.ndim - 1):
            small = along(reduce_line, small, axis)
        large = small
        for axis in range(1, x.ndim - 1):
            large = along(expand_line, large, axis, x.shape[axis])
        bands.append(x - large)
        x = small
    return [*bands, x]


GRIDS = [(2, 8, 7, 3), (2, 9, 2), (1, 1, 2, 3, 1)]


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_laplacian_pyramid_matches_numpy_and_reconstructs(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    bands = jax.jit(lambda x: laplacian_pyramid(x, 3))(x)
    for band, expected in zip(bands, numpy_pyramid(np.float64(x), 3), strict=True):
        np.testing.assert_allclose(band, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(from_pyramid)(bands), x, rtol=0, atol=5e-7)


def test_each_band_has_its_scale():
    scales = [5.0, 2.0, -1.0]
    rule = frequency_decoupled(COND, UNCOND, 5.0, [(scale - 1.0) / 4.0 for scale in scales])
    found, cond, uncond = jax.jit(lambda: [d(X, T) for d in (rule, COND, UNCOND)])()
    for half, c, u in zip(found, cond, uncond, strict=True):
        bands = numpy_pyramid(np.float64(c) - np.float64(u), 3)
        total = bands[2] * scales[2]
        for k in (1, 0):
            total = bands[k] * scales[k] + along(expand_line, total, 1, bands[k].shape[1])
        np.testing.assert_allclose(half, u + total, rtol=1e-4, atol=1e-4)


# ---- thresholds and rescaling ----------------------------------------------------------------------------------------

IMAGES = 1.5 * jax.random.normal(jax.random.key(0), (4, 6, 5))
LATE = jnp.float32(0.6)
WIDE = denoisers.denoiser_from_network(lambda x, t: 2 * x, SCHEDULE, "x0")
NARROW = denoisers.denoiser_from_network(lambda x, t: 0.1 * jnp.tanh(x), SCHEDULE, "x0")

RULES = {"static": static_threshold, "dynamic": dynamic_threshold}


@pytest.mark.parametrize("t", [LATE, 1.0, np.float32([0.1, 0.5, 0.9, 1.0])], ids=["inside", "end", "per_example"])
@pytest.mark.parametrize("schedule", [SCHEDULE, schedules.RectifiedFlow(), schedules.EDM(), schedules.SubVP()])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_thresholds_bound_x0_and_preserve_x_t(rule, schedule, t):
    wide = denoisers.denoiser_from_network(lambda x, t: 2 * x, schedule, "x0")
    x0, eps = rule(wide, schedule, limit=0.7)(IMAGES, t)
    assert float(jnp.abs(x0).max()) <= 0.7 + 1e-6
    alpha, sigma = (np.reshape(f(t), (-1, 1, 1)) for f in (schedule.alpha, schedule.sigma))
    np.testing.assert_allclose(alpha * x0 + sigma * eps, IMAGES, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_thresholds_change_neither_what_is_within_the_limit_nor_eps_without_noise(rule):
    same(rule(NARROW, SCHEDULE)(IMAGES, LATE), NARROW(IMAGES, LATE))
    bounded = rule(WIDE, SCHEDULE)
    np.testing.assert_allclose(rule(bounded, SCHEDULE)(IMAGES, LATE).x0, bounded(IMAGES, LATE).x0, rtol=1e-5)
    network = denoisers.denoiser_from_network(lambda x, t: 2 * x, SCHEDULE, "v")
    guarded, plain = rule(network, SCHEDULE)(IMAGES, jnp.float32(0.0)), network(IMAGES, jnp.float32(0.0))
    np.testing.assert_array_equal(guarded.eps, plain.eps)
    assert float(jnp.abs(guarded.x0).max()) <= 1.0 + 1e-6


@pytest.mark.parametrize(("percentile", "limit"), [(0.5, 1.0), (0.9, 0.3), (0.995, 1.0), (1.0, 2.0), (0.01, 1e-3)])
def test_dynamic_threshold_matches_numpy(percentile, limit):
    x = IMAGES * jnp.array([0.1, 1.0, 3.0, 10.0])[:, None, None]
    raw = np.asarray(2 * x, np.float64)
    expected = np.empty_like(raw)
    for i, example in enumerate(raw):
        q = max(limit, np.quantile(np.abs(example), percentile))
        expected[i] = np.clip(example, -q, q) / q * limit
    found = dynamic_threshold(WIDE, SCHEDULE, percentile, limit)(x, LATE).x0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0])
def test_rescale_matches_numpy(factor):
    """With the published formula; 0 changes nothing and 1 has the deviation of the conditional estimate."""
    guided = classifier_free(WIDE, NARROW, 1.5)
    found = rescale(guided, NARROW, SCHEDULE, factor)(IMAGES, LATE)
    raw, cond = (np.asarray(d(IMAGES, LATE).x0, np.float64) for d in (guided, NARROW))
    std = lambda x: x.std(axis=(1, 2), keepdims=True)
    expected = factor * (raw * std(cond) / std(raw)) + (1 - factor) * raw
    np.testing.assert_allclose(found.x0, expected, rtol=1e-4, atol=1e-5)
    if factor == 1.0:
        np.testing.assert_allclose(std(found.x0), std(cond), rtol=1e-4)
    np.testing.assert_allclose(
        SCHEDULE.alpha(LATE) * found.x0 + SCHEDULE.sigma(LATE) * found.eps, IMAGES, rtol=1e-4, atol=1e-4
    )


def test_rescale_does_not_change_constants():
    constant = denoisers.denoiser_from_network(lambda x, t: jnp.ones_like(x), SCHEDULE, "x0")
    np.testing.assert_allclose(rescale(constant, NARROW, SCHEDULE)(IMAGES, LATE).x0, 1.0)
    gradient = jax.jit(jax.grad(lambda x: rescale(constant, NARROW, SCHEDULE)(x, LATE).x0.sum()))
    assert np.isfinite(gradient(IMAGES)).all()
