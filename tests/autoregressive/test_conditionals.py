"""Conditional distributions against sums over all values, quadrature and formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.autoregressive import Categorical, LogisticMixture, Normal

RNG = np.random.default_rng(0)
BINS = 16
GRID = (np.arange(BINS) * 2.0 / (BINS - 1) - 1.0).astype(np.float32)
OUTPUTS = jnp.asarray(RNG.normal(size=9), jnp.float32)  # of a mixture of three
DISCRETE, DENSITY = LogisticMixture(components=3, bins=BINS), LogisticMixture(components=3)


def for_each(family, outputs, x):
    """The log-probability of each of some values under one conditional."""
    return jax.jit(family.log_prob)(jnp.broadcast_to(outputs, (len(x), len(outputs))), jnp.asarray(x)[:, None])


def mixture(outputs):
    """Weights, means and scales in float64, from the documented layout."""
    logits, means, log_scales = np.split(np.asarray(outputs, np.float64), 3)
    weights = np.exp(logits) / np.exp(logits).sum()
    return weights, means + np.array([-2 / 3, 0, 2 / 3]), np.exp(log_scales - np.log(6.0))


def test_bins_are_integrals_of_the_mixture_and_sum_to_1():
    weights, means, scales = mixture(OUTPUTS)
    cdf = lambda x: (weights / (1 + np.exp(-(x[:, None] - means) / scales))).sum(1)
    edges = (GRID[1:] + GRID[:-1]) / 2.0
    expected = np.diff(np.concatenate([[0.0], cdf(edges.astype(np.float64)), [1.0]]))
    p = np.exp(for_each(DISCRETE, OUTPUTS, GRID))
    np.testing.assert_allclose(p, expected, rtol=1e-4)
    assert abs(p.sum() - 1) < 1e-5


def test_bins_far_from_the_means_are_exact_and_have_gradients():
    """Differences of sigmoids would be 0 in float32."""
    outputs = jnp.array([0.0] * 3 + [-1 / 3, -1.0, -5 / 3] + [-3.0] * 3)  # three equal logistics at -1
    scale = np.exp(-3.0) / 6.0
    edge = (1.0 + GRID[BINS - 4].astype(np.float64) - 1 / (BINS - 1)) / scale
    width = 2 / (BINS - 1) / scale
    expected = -edge + np.log1p(-np.exp(-width))  # log(e^-a - e^-b) far in the tail
    found = for_each(DISCRETE, outputs, GRID)
    np.testing.assert_allclose(found[BINS - 4], expected, rtol=1e-5)
    assert found[BINS - 4] < -100
    gradient = jax.jit(jax.grad(lambda outputs: for_each(DISCRETE, outputs, GRID).sum()))(outputs)
    assert np.isfinite(gradient).all()


def test_densities_integrate_to_1():
    x = np.linspace(-12.0, 12.0, 4001, dtype=np.float32)
    p = np.exp(for_each(DENSITY, OUTPUTS, x))
    assert abs(p.sum() * 24.0 / 4000 - 1) < 1e-3
    weights, means, scales = mixture(OUTPUTS)
    z = (x[:, None] - means) / scales
    expected = (weights / (4 * scales * np.cosh(np.clip(z / 2, -300, 300)) ** 2)).sum(1)
    np.testing.assert_allclose(p, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.slow
def test_draws_have_the_probabilities():
    n = 20_000
    draw = jax.jit(lambda family, key: family.sample(key, jnp.broadcast_to(OUTPUTS, (n, 9)))[:, 0])
    x = np.asarray(draw(DISCRETE, jax.random.key(0)))
    counts = np.bincount(np.round((x + 1) * (BINS - 1) / 2).astype(int), minlength=BINS) / n
    p = np.exp(for_each(DISCRETE, OUTPUTS, GRID))
    assert np.abs(counts - p).max() < 4 * np.sqrt(p.max() / n)
    assert set(x.tolist()) <= set(np.float32(np.arange(BINS) * np.float32(2 / (BINS - 1)) - 1).tolist())
    density = np.asarray(draw(DENSITY, jax.random.key(1)))
    weights, means, _ = mixture(OUTPUTS)
    assert abs(density.mean() - weights @ means) < 5 * density.std() / np.sqrt(n)


def test_channels_are_a_sum_and_normal_is_its_formula():
    outputs = jnp.asarray(RNG.normal(size=(2, 18)), jnp.float32)
    x = jnp.asarray(RNG.normal(size=(2, 2)), jnp.float32)

    @jax.jit
    def run(outputs, x):
        both = LogisticMixture(components=3, channels=2).log_prob(outputs, x)
        parts = [DENSITY.log_prob(outputs[:, 9 * c : 9 * c + 9], x[:, c : c + 1]) for c in range(2)]
        floor = Normal(min_log_std=-1.0).log_prob(jnp.array([[0.0, -50.0]]), jnp.zeros((1, 1)))
        return both, sum(parts), Normal(channels=2).log_prob(outputs[:, :4], x), floor

    both, parts, normal, floor = run(outputs, x)
    np.testing.assert_allclose(both, parts, rtol=1e-5)
    mean, std = np.asarray(outputs[:, :2]), np.exp(outputs[:, 2:4])
    expected = (-0.5 * ((x - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(1)
    np.testing.assert_allclose(normal, expected, rtol=1e-5)
    np.testing.assert_allclose(floor, 1.0 - 0.5 * np.log(2 * np.pi), rtol=1e-5)


def test_fresh_outputs_of_a_mixture_differ_between_components():
    log_weights, means, log_scales = LogisticMixture(components=4).parameters(jnp.zeros((1, 12)))
    np.testing.assert_allclose(means[0, 0], [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(jnp.exp(log_weights[0, 0]), 0.25, rtol=1e-6)
    assert np.ptp(log_scales) == 0


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_draws_from_logits_that_are_not_finite_are_no_code_and_no_value(value):
    wide = jax.jit(lambda key, x: Categorical(num_codes=53).sample(key, jnp.log(jnp.exp(x))))
    assert np.all(wide(jax.random.key(0), jnp.zeros((53, 53)).at[jnp.diag_indices(53)].set(np.nan)) == -1)
    assert np.all(wide(jax.random.key(0), jnp.full((53, 53), value)) == -1)
    broken = jnp.zeros((2, 3)).at[0].set(value)
    family = Categorical(num_codes=3)
    assert (np.asarray(jax.jit(family.sample)(jax.random.key(0), broken)) >= 0).tolist() == [False, True]
    with pytest.raises(ValueError, match="outputs must have a finite largest logit, but for 1 of 2 examples"):
        family.sample(jax.random.key(0), broken)
    weights = jnp.concatenate([broken, jnp.zeros((2, 6))], axis=1)
    for mixture in (DISCRETE, DENSITY):
        assert np.isnan(jax.jit(mixture.sample)(jax.random.key(0), weights))[:, 0].tolist() == [True, False]


def test_a_code_that_is_none_has_no_log_probability():
    found = jax.jit(Categorical(num_codes=3).log_prob)(jnp.zeros((3, 3)), jnp.array([-1, 2, 3]))
    assert np.isnan(found).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("family", "outputs", "x", "message"),
    [
        (Categorical(num_codes=3), np.zeros((2, 4)), np.zeros(2, int), r"outputs must have shape \(2, 3\)"),
        (Categorical(num_codes=3), np.zeros((2, 3)), np.array([0, 3]), "x must hold classes from 0 to 2"),
        (Normal(), np.zeros((2, 2)), np.zeros((2, 2)), "x must"),
        (DISCRETE, np.zeros((1, 9)), np.full((1, 1), 0.05), r"x must be one of 16 values on \[-1, 1\]"),
        (DISCRETE, np.zeros((1, 9)), np.full((1, 1), 1.0 + 2 / 15), "x must be one of 16 values"),
    ],
)
def test_conditionals_validate(family, outputs, x, message):
    with pytest.raises(ValueError, match=message):
        family.log_prob(outputs, x)
