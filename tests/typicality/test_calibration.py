"""Scores and p-values against scipy and counting, and with power against what is out of distribution."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import scorekit as sk
from scorekit import typicality
from scorekit.typicality import decorrelate, gaussian_score, kernel_density_score, mean_z_score, standardise

D = 16
DATA = sk.densities.gaussian(np.linspace(-1.0, 1.0, D), factor=np.eye(D)[:, :3] * 2.0, std=0.5)


def test_kernel_density_score_matches_scipy():
    """Each statistic by scipy, with the same bandwidth."""
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=(300, 2)) * [1.0, 7.0] + [0.0, 3.0], rng.normal(size=(50, 2)) * 5
    found = kernel_density_score(known)
    spread = np.subtract(*np.quantile(known, [0.75, 0.25], axis=0)) / 1.34
    width = 0.9 * np.minimum(known.std(axis=0, ddof=1), spread) * 300**-0.2
    np.testing.assert_allclose(found.bandwidth, width, rtol=1e-5)
    expected = 0.0
    for f in range(2):
        kde = stats.gaussian_kde(known[:, f], bw_method=width[f] / known[:, f].std(ddof=1))
        expected = expected - kde.logpdf(asked[:, f])
    np.testing.assert_allclose(found(asked), expected, rtol=1e-3, atol=1e-3)


def test_gaussian_score_is_minus_the_log_density_of_the_standardised_statistics():
    """With the shrinkage of a thousandth; also of statistics that determine each other, in any units."""
    rng = np.random.default_rng(0)
    known = rng.normal(size=(500, 2)) @ np.array([[2.0, 1.0], [0.0, 0.1]])
    asked = rng.normal(size=(20, 2))
    score = jax.jit(lambda known, asked: gaussian_score(known)(asked))
    twice, like = (np.concatenate([x, x[:, :1]], axis=1) for x in (known, asked))
    z, z_like = ((x - twice.mean(axis=0)) / twice.std(axis=0) for x in (twice, like))
    covariance = np.cov(z.T)
    shrunk = 0.999 * covariance + 0.001 * np.diag(np.diag(covariance))
    expected = -stats.multivariate_normal(np.zeros(3), shrunk).logpdf(z_like)
    for units in (np.ones(3), np.array([1e3, 1e-3, -5.0])):
        np.testing.assert_allclose(score(units * twice, units * like), expected, rtol=2e-2)


def test_a_statistic_that_is_constant_is_allowed_by_the_kernel_estimate():
    known = np.concatenate([np.full((50, 1), 3.0), np.random.default_rng(0).normal(size=(50, 1))], axis=1)
    run = jax.jit(lambda known, asked: kernel_density_score(known)(asked))
    found = run(known, np.array([[3.0, 0.0], [4.0, 0.0]]))
    assert found[0] < found[1]


def test_p_values_match_counting():
    rng = np.random.default_rng(0)
    known, asked = np.round(rng.normal(size=99), 1), np.round(rng.normal(size=(4, 5)), 1)  # with ties
    expected = (1 + np.sum(known[:, None, None] >= asked, axis=0)) / 100
    np.testing.assert_allclose(typicality.p_values(known, asked), expected, rtol=1e-6)


@pytest.mark.slow
def test_typicality_test_is_uniform_for_in_distribution_batches():
    @jax.jit
    def run(keys):
        calibration = DATA.log_density(DATA.sample(keys[0], (2000,)))
        batches = DATA.log_density(DATA.sample(keys[1], (500, 10)))
        return typicality.typicality_test(keys[2], DATA.entropy(), calibration, batches, num_resamples=2000)

    found = jax.device_get(run([jax.random.key(i) for i in (1, 2, 3)]))
    assert stats.kstest(np.asarray(found.p_value, float), "uniform").pvalue > 1e-3
    assert abs(float(found.rejected.mean()) - 0.05) < 0.03
    np.testing.assert_array_equal(found.rejected, found.statistic > found.threshold)
    # the information is (chi^2_D - D) / 2 above the entropy: its mean over 10 has a known 95 % quantile
    grid = np.linspace(0, 5, 5001)
    total = stats.chi2(10 * D)
    mass = total.cdf(10 * (D + 2 * grid)) - total.cdf(10 * (D - 2 * grid))
    np.testing.assert_allclose(found.threshold, grid[np.searchsorted(mass, 0.95)], rtol=0.08)


@pytest.mark.parametrize("resamples", [1, 18, 19])
def test_a_batch_is_rejected_where_its_p_value_is_at_most_the_level(resamples):
    calibration, batches = (jax.random.normal(jax.random.key(i), size) for i, size in enumerate([(500,), (2000, 5)]))
    test = functools.partial(typicality.typicality_test, jax.random.key(2), 0.0, calibration, num_resamples=resamples)
    for level in (0.05, 0.29):
        found = jax.jit(test)(batches, level=level)
        np.testing.assert_array_equal(found.rejected, found.p_value <= jnp.float32(level))
        assert np.isinf(found.threshold) == (level * (resamples + 1) < 1)
    assert jax.jit(test)(jnp.full((1, 5), -jnp.inf), level=0.05).rejected.tolist() == [True]
    if resamples < 19:
        words = r"level must be >= 1 / \(num_resamples \+ 1\) = 0\.\d+, else none is rejected, got 0\.05"
        with pytest.raises(ValueError, match=words):
            test(batches)


# ---- scores ----------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
MEAN, ROOT = np.array([3.0, -100.0, 0.01]), np.array([[2.0, 30.0, 0.001], [0.0, 10.0, 0.0], [0.0, 0.0, 0.002]])
CALIBRATION = RNG.normal(size=(2000, 3)) @ ROOT + MEAN
STATISTICS = 2.0 * RNG.normal(size=(40, 3)) @ ROOT + MEAN
Z = (STATISTICS - CALIBRATION.mean(axis=0)) / CALIBRATION.std(axis=0)


def test_statistics_are_standardised():
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3)
    close(standardise(CALIBRATION)(STATISTICS), Z)
    close(mean_z_score(CALIBRATION)(STATISTICS), Z.mean(axis=1))


@pytest.mark.parametrize("regularisation", [1e-3, 0.1])
@pytest.mark.parametrize("columns", [[0, 1, 2], [0, 1, 2, 0]])
def test_decorrelate_whitens_all_but_what_the_regularisation_leaves(columns, regularisation):
    """In the basis of the principal components; a column that is there twice leaves one without variance."""
    calibration, statistics, z = (x[:, columns] for x in (CALIBRATION, STATISTICS, Z))
    transform = decorrelate(calibration, regularisation)
    values, vectors = np.linalg.eigh(np.corrcoef(calibration.T) * 2000 / 1999)
    covariance = np.cov(np.asarray(transform(calibration)).T)
    np.testing.assert_allclose(covariance, np.diag(values / (values + regularisation)), atol=1e-3)
    expected = z @ vectors / np.sqrt(values + regularisation)
    np.testing.assert_allclose(np.abs(transform(statistics)), np.abs(expected), rtol=5e-3, atol=5e-3)


@pytest.mark.slow
def test_scores_are_jit_arguments_that_do_not_retrace():
    @jax.jit
    @chex.assert_max_traces(n=4)  # one of each factory
    def evaluate(score, statistics):
        return score(statistics)

    for factory in (kernel_density_score, gaussian_score, mean_z_score, decorrelate):
        for calibration in (CALIBRATION[:50], CALIBRATION[50:100]):
            score = factory(calibration)
            np.testing.assert_allclose(evaluate(score, STATISTICS), score(STATISTICS), rtol=1e-3, atol=1e-3)
