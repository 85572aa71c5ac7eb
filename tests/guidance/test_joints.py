"""Guided sequences against loops over every sequence, written from the definitions."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import samples_agree

from scorekit import denoisers, densities, guidance, schedules
from scorekit.guidance import classifier_free_log_density, classifier_guided_log_density, log_product
from scorekit.guidance.sequences import (
    conditional_log_probs,
    guide_joint,
    guide_sequentially,
    joint_log_prob,
    total_variation,
)
from scorekit.samplers import langevin, metropolis_langevin

SIZES = (3, 2, 4)
SCALES = np.float32([-0.5, 0.0, 0.5, 1.0, 2.0, 5.0])
SEQUENCES = list(itertools.product(*(range(size) for size in SIZES)))


def logits(seed):
    rng = np.random.default_rng(seed)
    return [np.float32(1.5 * rng.normal(size=SIZES[: k + 1])) for k in range(len(SIZES))]


@jax.jit
def guided(cond, uncond, scales):
    """Joint, one after the other, and the total variation between them, for every scale."""

    def one(scale):
        joint, sequential = guide_joint(cond, uncond, scale), guide_sequentially(cond, uncond, scale)
        return joint, sequential, total_variation(joint.log_prob, sequential.log_prob)

    return jax.vmap(one)(scales)


def naive_joint(tables):
    """``p(x)`` of every sequence, by multiplying one conditional after the other."""
    p = np.zeros(SIZES)
    for x in SEQUENCES:
        factors = [np.exp(table[x[: k + 1]]) / np.sum(np.exp(table[x[:k]])) for k, table in enumerate(tables)]
        p[x] = np.prod(factors)
    return p


GIVEN = [naive_joint(logits(seed)) for seed in (1, 2)]  # p(x | y) of two labels
PRIOR = (0.3, 0.7)
P = PRIOR[0] * GIVEN[0] + PRIOR[1] * GIVEN[1]
JOINT, SEQUENTIAL, VARIATION = guided(np.log(np.float32(GIVEN[0])), np.log(np.float32(P)), SCALES)


def test_an_autoregressive_model_is_the_product_of_its_conditionals():
    found, tables = jax.jit(
        lambda logits: (joint_log_prob(logits), conditional_log_probs(joint_log_prob(logits) - 7.0))
    )(logits(1))
    np.testing.assert_allclose(np.exp(found), GIVEN[0], rtol=1e-5)
    for k, (table, raw) in enumerate(zip(tables, logits(1), strict=True)):
        expected = raw - np.log(np.exp(raw).sum(-1, keepdims=True))
        np.testing.assert_allclose(table, expected, atol=1e-5, err_msg=str(k))


def label_given(beginning):
    """``p(y = 0 | x_<=k)`` by Bayes' rule, from the probabilities of all sequences that begin so."""
    rest = (slice(None),) * (len(SIZES) - len(beginning))
    return PRIOR[0] * GIVEN[0][beginning + rest].sum() / P[beginning + rest].sum()


def begins(beginning):
    return P[beginning + (slice(None),) * (len(SIZES) - len(beginning))].sum()


@pytest.mark.parametrize("i", range(len(SCALES)), ids=[f"{scale:g}" for scale in SCALES])
def test_log_factors_of_joint_and_sequential_guidance(i):
    """``s`` and ``s'`` from their definitions with a classifier, which the guided models were never given."""
    power = float(SCALES[i])
    mean = sum(P[x] * label_given(x) ** power for x in SEQUENCES)
    for x in SEQUENCES:
        joint = label_given(x) ** power / mean
        sequential = 1.0
        for k in range(1, len(SIZES) + 1):
            before = x[: k - 1]
            p_next = [begins((*before, symbol)) / begins(before) for symbol in range(SIZES[k - 1])]
            expected = sum(p * label_given((*before, s)) ** power for s, p in enumerate(p_next))
            sequential *= label_given(x[:k]) ** power / expected
        for found, factor in ((JOINT, joint), (SEQUENTIAL, sequential)):
            np.testing.assert_allclose(found.log_factor[i][x], np.log(factor), atol=2e-5)
            np.testing.assert_allclose(found.log_prob[i][x], np.log(P[x] * factor), atol=2e-5)


def test_joint_and_sequential_guidance_agree_only_for_scales_0_and_1():
    for found in (JOINT, SEQUENTIAL):
        np.testing.assert_allclose(jax.nn.logsumexp(found.log_prob, axis=(1, 2, 3)), 0.0, atol=1e-5)
        np.testing.assert_allclose(np.exp(found.log_prob[1]), P, rtol=1e-5)
        np.testing.assert_allclose(np.exp(found.log_prob[3]), GIVEN[0], rtol=1e-5)
    expected = 0.5 * np.abs(np.exp(JOINT.log_prob) - np.exp(SEQUENTIAL.log_prob)).sum((1, 2, 3))
    np.testing.assert_allclose(VARIATION, expected, atol=1e-6)
    assert np.all(VARIATION[np.isin(SCALES, (0.0, 1.0))] < 1e-6)
    assert np.all(VARIATION[~np.isin(SCALES, (0.0, 1.0))] > 0.01)


def test_joint_and_sequential_guidance_agree_for_independent_symbols():
    symbols = [[np.random.default_rng(seed).normal(size=size) for size in SIZES] for seed in (1, 2)]
    tables = [[np.broadcast_to(row, SIZES[: k + 1]) for k, row in enumerate(rows)] for rows in symbols]
    joint, _, variation = guided(*(joint_log_prob(table) for table in tables), SCALES)
    assert np.all(variation < 1e-6)
    assert np.ptp(joint.log_factor[4]) > 1.0


def test_guidance_away_from_uniform_is_temperature():
    uniform, power = np.full(SIZES, -np.log(len(SEQUENCES)), np.float32), 2.0
    joint, sequential, _ = guided(np.log(np.float32(P)), uniform, np.full(6, power, np.float32))
    np.testing.assert_allclose(np.exp(joint.log_prob[0]), P**power / np.sum(P**power), rtol=1e-4)
    tables = [np.exp(table) ** power for table in conditional_log_probs(np.log(np.float32(P)))]
    expected = [table / table.sum(-1, keepdims=True) for table in tables]
    np.testing.assert_allclose(np.exp(sequential.log_prob[0]), np.einsum("a,ab,abc->abc", *expected), rtol=1e-4)


def test_impossible_sequences_remain_impossible():
    """A beginning without probability under both, and one that only the condition excludes."""
    cond, p = GIVEN[0].copy(), P.copy()
    cond[0], p[0] = 0.0, 0.0
    cond[1, 1] = 0.0
    with np.errstate(divide="ignore"):
        cond, p = (np.float32(np.log(array / array.sum())) for array in (cond, p))
    joint, sequential, variation = guided(cond, p, SCALES)
    for found in (joint, sequential):
        probabilities = np.exp(np.asarray(found.log_prob))[1:]  # a negative scale would want the impossible
        np.testing.assert_allclose(probabilities.sum((1, 2, 3)), 1.0, atol=1e-5)
        assert np.all(probabilities[:, 0] == 0)
        assert np.all(probabilities[1:, 1, 1] == 0)
        np.testing.assert_allclose(probabilities[0], np.exp(p), atol=1e-6)
    assert float(variation[4]) > 0.01


# ---- explicit models, by Metropolis-Langevin -------------------------------------------------------------------------

KEY = jax.random.key(0)
D = 3


def autoregressive(slope, shift, std):
    """``x_k ~ N(slope x_k-1 + shift, std^2)``, one value after the other."""

    def log_density(x):
        before = jnp.pad(x[..., :-1], ((0, 0), (1, 0)))
        return jnp.sum(-0.5 * jnp.square((x - slope * before - shift) / std), -1)

    return log_density


UNCOND, COND = autoregressive(0.5, 0.0, 0.8), autoregressive(0.8, 0.6, 0.6)


def precision_and_shift(slope, shift, std):
    """``exp(-x P x / 2 + h x)``: the residuals are ``L x - shift`` with L bidiagonal."""
    residual = np.eye(D) - slope * np.eye(D, k=-1)
    return residual.T @ residual / std**2, residual.T @ np.full(D, shift) / std**2


def guided_gaussian(scale):
    (p, h), (p_y, h_y) = precision_and_shift(0.5, 0.0, 0.8), precision_and_shift(0.8, 0.6, 0.6)
    covariance = np.linalg.inv((1 - scale) * p + scale * p_y)
    return covariance @ ((1 - scale) * h + scale * h_y), covariance


@jax.jit
def chains(scale, step, start):
    """The end of many chains on the guided joint, classifier-free and with the classifier that the models are."""
    classifier = log_product((1.0, COND), (-1.0, UNCOND))
    free = classifier_free_log_density(COND, UNCOND, scale)
    with_classifier = classifier_guided_log_density(UNCOND, classifier, scale)
    end = metropolis_langevin(KEY, free, start, step, 120)
    by_score = langevin(KEY, denoisers.score_from_log_density(with_classifier), start, 0.1, 3)
    return end, free(start), with_classifier(start), by_score


@pytest.mark.parametrize(("scale", "step"), [(0.5, 0.15), (2.5, 0.07)])
def test_metropolis_langevin_reaches_the_guided_joint_of_an_autoregressive_model(scale, step):
    n = 4000
    start = jax.random.normal(jax.random.key(1), (n, D))
    end, free, with_classifier, by_score = chains(scale, step, start)
    mean, covariance = guided_gaussian(scale)
    assert 0.4 < float(end.acceptance.mean()) < 0.95
    samples_agree(end.x, mean, covariance, sigmas=4.5)
    np.testing.assert_allclose(free, with_classifier, rtol=1e-4, atol=1e-4)
    precision = np.linalg.inv(covariance)
    exact = langevin(KEY, lambda x: (precision @ mean - x @ precision).astype(x.dtype), start, 0.1, 3)
    np.testing.assert_allclose(by_score, exact, atol=1e-4)


def test_guided_log_density_with_a_noise_level_matches_guided_denoisers():
    schedule, modes = schedules.Cosine(), [densities.gaussian(jnp.array([m, 0.3]), std=0.7) for m in (-1.0, 1.0)]
    data = densities.mixture([0.5, 0.5], modes)
    noisy = lambda density: lambda x, t: density.marginal(schedule.alpha(t), schedule.sigma(t)).log_density(x)
    guided = classifier_free_log_density(noisy(modes[1]), noisy(data), 3.0)
    x, t = jax.random.normal(KEY, (5, 2)), 0.4
    found = jax.jit(denoisers.denoiser_from_log_density(guided, schedule))(x, t)
    exact = (denoisers.exact_denoiser(density, schedule) for density in (modes[1], data))
    expected = jax.jit(guidance.classifier_free(*exact, 3.0))(x, t)
    chex.assert_trees_all_close(found, expected, atol=1e-4)


def test_log_product_weight_of_0_drops_its_term_and_new_weights_do_not_recompile():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def value(log_density, x):
        return log_density(x)

    nowhere = lambda x: jnp.full(x.shape[0], -jnp.inf)
    x = jnp.ones((2, D))
    product = lambda *weights: log_product(*zip(weights, (UNCOND, COND, nowhere), strict=True))
    np.testing.assert_allclose(value(product(2.0, -0.5, 0.0), x), 2.0 * UNCOND(x) - 0.5 * COND(x), rtol=1e-6)
    assert np.all(value(product(2.0, -0.5, 1.0), x) == -np.inf)
