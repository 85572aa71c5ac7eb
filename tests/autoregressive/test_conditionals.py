"""Conditional distributions against sums, quadrature and formulas in float64; changed and guided ones, counted out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from token_chains import markov

from scorekit import autoregressive as ar
from scorekit.autoregressive import Categorical, LogisticMixture, Normal
from scorekit.guidance.sequences import guide_joint, guide_sequentially, joint_log_prob, total_variation

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
    codes = np.round((x + 1) * (BINS - 1) / 2).astype(int)
    counts = np.bincount(codes, minlength=BINS) / n
    p = np.exp(for_each(DISCRETE, OUTPUTS, GRID))
    assert np.abs(counts - p).max() < 4 * np.sqrt(p.max() / n)
    np.testing.assert_allclose(x, 2 / (BINS - 1) * codes - 1, atol=2e-7)
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


# ---- truncation and guidance -----------------------------------------------------------------------------------------

P = RNG.dirichlet(np.full(7, 0.6), size=20).astype(np.float32)
P[:, 3] = 0.0
P /= P.sum(1, keepdims=True)


def smallest_set(p, order, mass):
    """One code after the other until the mass is reached."""
    kept, total = [], 0.0
    for code in sorted(range(len(p)), key=lambda code: order[code]):
        kept.append(code)
        total += p[code]
        if total >= mass:
            return set(kept)
    return set(kept)


def test_truncated_conditionals_keep_the_sets_of_their_definitions():
    with np.errstate(divide="ignore"):
        logits, information = jnp.log(P) + 3.0, -np.log(P.astype(np.float64))
    run = jax.jit(lambda x: (ar.top_k(x, 2), ar.nucleus(x, 0.8), ar.typical(x, 0.8), ar.temperature(x, 0.5)))
    k_most, most, nearest, cold = (np.asarray(found) for found in run(logits))
    for i, p in enumerate(P):
        entropy = sum(a * b for a, b in zip(p, information[i], strict=True) if a > 0)
        kept = lambda found, i=i: set(np.flatnonzero(np.isfinite(found[i])).tolist())
        assert kept(k_most) == set(np.argsort(-p)[:2].tolist())
        assert kept(most) == smallest_set(p, -p, 0.8)
        assert kept(nearest) == smallest_set(p, np.abs(information[i] - entropy), 0.8)
        np.testing.assert_array_equal(most[i][np.isfinite(most[i])], logits[i][np.isfinite(most[i])])
        np.testing.assert_allclose(jax.nn.softmax(cold[i]), p**2 / (p**2).sum(), rtol=1e-4, atol=1e-6)


def test_truncation_does_not_leave_out_what_is_not_a_number():
    for rule in (lambda x: ar.top_k(x, 1), lambda x: ar.nucleus(x, 0.5), lambda x: ar.typical(x, 0.5)):
        logits = jax.jit(rule)(jnp.array([[1.0, jnp.nan, 0.0], [1.0, 3.0, 0.0]]))
        assert jax.jit(ar.Categorical(num_codes=3).sample)(jax.random.key(0), logits)[0] == -1


def test_the_whole_mass_keeps_all_and_sums_of_half_precision_are_single():
    logits = 3.0 * jax.random.normal(jax.random.key(0), (64, 512))
    for rule in (ar.nucleus, ar.typical):
        np.testing.assert_array_equal(rule(logits, 1.0), logits)
        half = rule(logits.astype(jnp.bfloat16), 0.9)
        p = jax.nn.softmax(logits.astype(jnp.bfloat16).astype(jnp.float32))
        assert half.dtype == jnp.bfloat16
        assert jnp.sum(p, axis=1, where=jnp.isfinite(half)).min() > 0.9 - 1e-5


def test_typical_sampling_may_leave_out_the_most_probable():
    logits = jnp.log(jnp.array([0.4, 0.15, 0.15, 0.15, 0.15]))
    typical, nucleus = jax.jit(lambda x: (ar.typical(x, 0.5), ar.nucleus(x, 0.4)))(logits)
    assert np.isfinite(typical).tolist() == [False, True, True, True, True]
    assert np.isfinite(nucleus).tolist() == [True, False, False, False, False]


def test_guided_chains_are_the_counted_guided_conditionals_and_not_the_joint():
    """The total variation to the joint is 0 at scales 0 and 1, and in between and beyond it is not."""

    @jax.jit
    def run(cond, uncond, scale):
        tables = [ar.log_prob_table(model, 4) for model in (cond, uncond)]
        found = ar.log_prob_table(ar.classifier_free(cond, uncond, scale), 4)
        sequential, joint = guide_sequentially(*tables, scale).log_prob, guide_joint(*tables, scale).log_prob
        return found, sequential, total_variation(found, joint)

    first, then = markov(1).initial, markov(1).transitions
    logits = [first, then, jnp.broadcast_to(then, (3, 3, 3)), jnp.broadcast_to(then, (3, 3, 3, 3))]
    np.testing.assert_allclose(ar.log_prob_table(markov(1), 4), joint_log_prob(logits), rtol=1e-5)
    variation = {}
    for scale in (0.0, 0.5, 1.0, 3.0):
        found, sequential, variation[scale] = run(markov(1), markov(2), scale)
        np.testing.assert_allclose(jnp.exp(found), jnp.exp(sequential), atol=1e-6)
    assert variation[0.0] < 1e-5
    assert variation[1.0] < 1e-5
    assert 0.01 < variation[0.5] < variation[3.0]


def test_guided_conditionals_of_float64_are_float64():
    with jax.enable_x64(True):
        cond, uncond = (jax.tree.map(lambda leaf: jnp.asarray(leaf, float), markov(seed)) for seed in (1, 2))
        x = jnp.array([[0, 2, 1]])
        found = ar.classifier_free(cond, uncond, 3.0).outputs(x)
        of = lambda model: jax.nn.log_softmax(model.outputs(x))
        expected = jax.nn.log_softmax(3.0 * of(cond) - 2.0 * of(uncond))
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, expected, atol=1e-12)
