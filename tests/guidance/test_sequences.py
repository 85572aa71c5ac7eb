"""Guided sequences against loops over every sequence, written from the definitions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.guidance.sequences import (
    conditional_log_probs,
    guide_joint,
    guide_sequentially,
    joint_log_prob,
    total_variation,
)

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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: joint_log_prob([np.zeros(2), np.zeros((3, 2))]),
            r"logits must have shapes .* got \[\(2,\), \(3, 2\)\]",
        ),
        (lambda: joint_log_prob([]), r"logits must have shapes .* got \[\]"),
        (lambda: guide_joint(jnp.zeros(2), jnp.zeros(3), 1.0), r"same shape, got \(2,\) and \(3,\)"),
        (lambda: guide_sequentially(jnp.zeros(2), jnp.zeros(3), 1.0), r"same shape, got \(2,\) and \(3,\)"),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()
