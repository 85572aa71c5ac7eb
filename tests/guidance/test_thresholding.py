"""Static and dynamic thresholding, and rescaling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, schedules
from scorekit.guidance import classifier_free, dynamic_threshold, rescale, static_threshold

SCHEDULE = schedules.cosine()
X = 1.5 * jax.random.normal(jax.random.key(0), (4, 6, 5))
T = jnp.float32(0.6)
WIDE = denoisers.denoiser_from_network(lambda x, t: jax.tree.map(lambda leaf: 2 * leaf, x), SCHEDULE, "x0")
NARROW = denoisers.denoiser_from_network(lambda x, t: 0.1 * jnp.tanh(x), SCHEDULE, "x0")

RULES = {"static": static_threshold, "dynamic": dynamic_threshold}


@pytest.mark.parametrize("t", [T, 1.0, np.float32([0.1, 0.5, 0.9, 1.0])], ids=["inside", "end", "per_example"])
@pytest.mark.parametrize("schedule", [SCHEDULE, schedules.rectified_flow(), schedules.edm(), schedules.sub_vp()])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_thresholds_bound_x0_and_preserve_x_t(rule, schedule, t):
    wide = denoisers.denoiser_from_network(lambda x, t: 2 * x, schedule, "x0")
    x0, eps = rule(wide, schedule, limit=0.7)(X, t)
    assert float(jnp.abs(x0).max()) <= 0.7 + 1e-6
    alpha, sigma = (np.reshape(f(t), (-1, 1, 1)) for f in (schedule.alpha, schedule.sigma))
    np.testing.assert_allclose(alpha * x0 + sigma * eps, X, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_thresholds_do_not_change_estimates_within_the_limit(rule):
    for one, other in zip(rule(NARROW, SCHEDULE)(X, T), NARROW(X, T), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_thresholds_are_idempotent(rule):
    once = rule(WIDE, SCHEDULE)
    np.testing.assert_allclose(rule(once, SCHEDULE)(X, T).x0, once(X, T).x0, rtol=1e-5)


@pytest.mark.parametrize(("percentile", "limit"), [(0.5, 1.0), (0.9, 0.3), (0.995, 1.0), (1.0, 2.0), (0.01, 1e-3)])
def test_dynamic_threshold_matches_numpy(percentile, limit):
    x = X * jnp.array([0.1, 1.0, 3.0, 10.0])[:, None, None]
    raw = np.asarray(2 * x, np.float64)
    expected = np.empty_like(raw)
    for i, example in enumerate(raw):
        q = max(limit, np.quantile(np.abs(example), percentile))
        expected[i] = np.clip(example, -q, q) / q * limit
    found = dynamic_threshold(WIDE, SCHEDULE, percentile, limit)(x, T).x0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_dynamic_threshold_is_independent_across_examples():
    rule = dynamic_threshold(WIDE, SCHEDULE, percentile=0.9)
    together, alone = rule(X, T).x0, rule(X[2:3], T).x0
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-6)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_thresholds_do_not_change_eps_without_noise(rule):
    network = denoisers.denoiser_from_network(lambda x, t: 2 * x, SCHEDULE, "v")
    guarded, plain = rule(network, SCHEDULE)(X, jnp.float32(0.0)), network(X, jnp.float32(0.0))
    np.testing.assert_array_equal(guarded.eps, plain.eps)
    assert float(jnp.abs(guarded.x0).max()) <= 1.0 + 1e-6


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_bfloat16_and_trees(rule):
    tree = {"a": X.astype(jnp.bfloat16), "b": X[:, 0]}
    x0, eps = rule(WIDE, SCHEDULE)(tree, T)
    assert x0["a"].dtype == eps["a"].dtype == jnp.bfloat16
    assert x0["b"].dtype == jnp.float32
    np.testing.assert_allclose(x0["b"], rule(WIDE, SCHEDULE)(tree["b"], T).x0, rtol=1e-6)
    wide = rule(WIDE, SCHEDULE)(tree["a"].astype(jnp.float32), T)
    np.testing.assert_allclose(x0["a"].astype(jnp.float32), wide.x0, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(eps["a"].astype(jnp.float32), wide.eps, rtol=0.02, atol=0.05)


def test_thresholds_do_not_recompile_for_new_values():
    traces = []

    @jax.jit
    def run(rule):
        traces.append(1)
        return rule(X, T).x0

    nested = lambda limit, percentile: dynamic_threshold(static_threshold(WIDE, SCHEDULE, limit), SCHEDULE, percentile)
    one, other = run(nested(2.0, 0.8)), run(nested(1.5, 0.6))
    assert len(traces) == 1
    assert float(jnp.abs(one - other).max()) > 0.01


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0])
def test_rescale_matches_numpy(factor):
    """With the published formula; 0 changes nothing and 1 has the deviation of the conditional estimate."""
    guided = classifier_free(WIDE, NARROW, 1.5)
    found = rescale(guided, NARROW, SCHEDULE, factor)(X, T)
    raw, cond = (np.asarray(d(X, T).x0, np.float64) for d in (guided, NARROW))
    std = lambda x: x.std(axis=(1, 2), keepdims=True)
    expected = factor * (raw * std(cond) / std(raw)) + (1 - factor) * raw
    np.testing.assert_allclose(found.x0, expected, rtol=1e-4, atol=1e-5)
    if factor == 1.0:
        np.testing.assert_allclose(std(found.x0), std(cond), rtol=1e-4)
    np.testing.assert_allclose(SCHEDULE.alpha(T) * found.x0 + SCHEDULE.sigma(T) * found.eps, X, rtol=1e-4, atol=1e-4)


def test_rescale_does_not_change_constants():
    flat = denoisers.denoiser_from_network(lambda x, t: jnp.ones_like(x), SCHEDULE, "x0")
    np.testing.assert_allclose(rescale(flat, NARROW, SCHEDULE)(X, T).x0, 1.0)
    gradient = jax.jit(jax.grad(lambda x: rescale(flat, NARROW, SCHEDULE)(x, T).x0.sum()))
    assert np.isfinite(gradient(X)).all()
