"""Separation of scores against scikit-learn, ties included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from scorekit import metrics

RNG = np.random.default_rng(0)
CASES = {
    "apart": (RNG.normal(size=40).astype(np.float32), RNG.normal(size=60).astype(np.float32) + 1.5),
    "ties": (RNG.integers(0, 6, 40).astype(np.float32), RNG.integers(2, 9, 60).astype(np.float32)),
    "the wrong way": (RNG.normal(size=40).astype(np.float32) + 2, RNG.normal(size=60).astype(np.float32)),
    "all equal": (np.ones(40, np.float32), np.ones(60, np.float32)),
}


@jax.jit
def all_three(in_scores, out_scores):
    return (
        metrics.auroc(in_scores, out_scores),
        metrics.aupr(in_scores, out_scores),
        metrics.fpr_at_tpr(in_scores, out_scores),
    )


@pytest.mark.parametrize("case", CASES)
def test_metrics_match_scikit_learn(case):
    in_scores, out_scores = CASES[case]
    labels, scores = np.repeat([0, 1], [40, 60]), np.concatenate([in_scores, out_scores])
    area, precision, fpr = all_three(in_scores, out_scores)
    np.testing.assert_allclose(area, roc_auc_score(labels, scores), rtol=1e-6)
    np.testing.assert_allclose(precision, average_precision_score(labels, scores), rtol=1e-6)
    # FPR95 by the curve with in-distribution as the positive class: the first point that reaches 95 %
    false, true, _ = roc_curve(1 - labels, -scores, drop_intermediate=False)
    np.testing.assert_allclose(fpr, false[np.argmax(true >= 0.95 - 1e-12)], atol=1e-7)


def test_the_number_of_pairs_of_auroc_may_exceed_32_bits():
    assert metrics.auroc(jnp.arange(50_000.0), jnp.arange(50_000.0)) == 0.5


def test_bootstrap_interval_level():
    """Of a difference of means, whose bootstrap is nearly normal with a known deviation and centre."""
    in_scores, out_scores = RNG.normal(size=(2, 200)).astype(np.float32)
    run = functools.partial(metrics.bootstrap_interval, metric=lambda a, b: b.mean() - a.mean(), num_resamples=4000)
    deviation = np.sqrt((in_scores.var() + out_scores.var()) / 200)
    jitted = jax.jit(run)
    for level, reach in ((0.5, 0.6745), (0.95, 1.96)):
        found = jitted(jax.random.key(0), in_scores=in_scores, out_scores=out_scores, level=level)
        np.testing.assert_allclose(found.value, out_scores.mean() - in_scores.mean(), rtol=1e-5)
        ends = np.array([found.low - found.value, found.high - found.value])
        np.testing.assert_allclose(ends, np.array([-reach, reach]) * deviation, rtol=0.1)
