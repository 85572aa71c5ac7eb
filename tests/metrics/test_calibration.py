"""Diagnostics of posteriors: an exact posterior passes at the level of the test, a wrong one is found.

The oracle is conjugate, ``theta ~ N(0, I)`` and ``x = theta + noise`` of a full covariance.
"""

import functools

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

from scorekit import metrics

LEVELS, S, ALPHA = np.linspace(0.05, 0.95, 19), 31, 0.05


@functools.cache
def posterior_of(dim):
    """The gain and the Cholesky factor of the covariance of the posterior, and the factor of the noise."""
    noise = np.linalg.cholesky(0.5 * np.eye(dim) + 0.5 / dim * np.add.outer(np.arange(dim), np.arange(dim)) / dim)
    covariance = np.linalg.inv(np.eye(dim) + np.linalg.inv(noise @ noise.T))
    return covariance @ np.linalg.inv(noise @ noise.T), np.linalg.cholesky(covariance), noise


def simulations(seed, dim, n, count, scale=1.0):
    """Truths and samples of the tested posterior (its width times ``scale``), each also standardised."""
    rng = np.random.default_rng(seed)
    gain, factor, noise = posterior_of(dim)
    truth = rng.standard_normal((n, dim))
    x = truth + rng.standard_normal((n, dim)) @ noise.T
    mean = x @ gain.T
    z = rng.standard_normal((n, count, dim))
    standard = np.linalg.solve(factor, (truth - mean).T).T / scale
    return truth, standard, mean[:, None] + scale * z @ factor.T, z


def all_parameters(test):
    return np.min(test.p_value) * np.size(test.p_value)


def ranks(truth, standard, samples, z):
    return all_parameters(metrics.rank_test(metrics.posterior_ranks(samples, truth), S))


def intervals(truth, standard, samples, z):
    return all_parameters(metrics.coverage_test(metrics.interval_coverage(samples, truth, LEVELS), LEVELS, len(truth)))


def density(truth, standard, samples, z):
    log_density = [-0.5 * np.sum(u**2, axis=-1) for u in (z, standard)]
    return metrics.coverage_test(metrics.expected_coverage(*log_density, LEVELS), LEVELS, len(truth)).p_value


def distance(truth, standard, samples, z):
    return metrics.coverage_test(metrics.tarp(samples, truth, LEVELS), LEVELS, len(truth)).p_value


def distance_from_samples(truth, standard, samples, z):
    found = metrics.tarp(samples[:, 1:], truth, LEVELS, references=samples[:, 0])
    return metrics.coverage_test(found, LEVELS, len(truth)).p_value


def classifier(truth, standard, samples, z):
    """Samples of one exact and one tested posterior, in the coordinates of the exact one."""
    return metrics.two_sample_test(z[:, 0], standard, QuadraticDiscriminantAnalysis()).p_value


def rejected(diagnostic, repetitions, *arguments, **changes):
    """In how many of the repetitions the test rejects at 5 %."""
    count = 1 if diagnostic is classifier else S
    p = [diagnostic(*simulations(seed, *arguments, count, **changes)) for seed in range(repetitions)]
    return sum(np.asarray(p) <= ALPHA)


NEEDED = {
    ranks: {1: 1500, 16: 750},
    intervals: {1: 1250, 16: 400},
    density: {1: 1250, 16: 80},
    distance: {1: 2500, 16: 500},
    distance_from_samples: {1: 1500, 16: 150},
    classifier: {1: 7000, 16: 800},
}
"""Simulations with which at least 90 % of the posteriors that are 10 % too narrow are found, by dimension."""
slow = lambda test: pytest.mark.slow if test is classifier else ()
CASES = [pytest.param(test, dim, id=f"{test.__name__}-{dim}", marks=slow(test)) for test in NEEDED for dim in (1, 16)]


@pytest.mark.parametrize(("diagnostic", "dim"), CASES)
def test_an_exact_posterior_passes_and_one_10_percent_too_narrow_is_found(diagnostic, dim):
    n = NEEDED[diagnostic][dim]
    assert rejected(diagnostic, 40, dim, n) <= stats.binom.isf(1e-3, 40, ALPHA)
    assert rejected(diagnostic, 20, dim, n, scale=0.9) >= 18


def test_the_prior_passes_but_for_reference_points_that_depend_on_the_observation():
    rng = np.random.default_rng(0)
    truth, prior = rng.standard_normal((500, 1)), rng.standard_normal((500, S, 1))
    x = truth + 0.5 * rng.standard_normal((500, 1))
    p = [metrics.coverage_test(metrics.tarp(prior, truth, LEVELS, references=r), LEVELS, 500)[1] for r in (None, x)]
    assert p[0] > ALPHA
    assert p[1] < 1e-3
    assert all_parameters(metrics.rank_test(metrics.posterior_ranks(prior, truth), S)) > ALPHA


def test_one_level_has_the_exact_binomial_band_and_several_hold_together():
    band = metrics.coverage_band([0.9], 50)
    low, high = (round(float(side[0]) * 50) for side in (band.low, band.high))
    inside = lambda low, high: stats.binom.cdf(high, 50, 0.9) - stats.binom.cdf(low - 1, 50, 0.9)
    assert inside(low, high) >= 0.945
    assert min(inside(low + 1, high), inside(low, high - 1)) < 0.955
    np.testing.assert_allclose(band.standard_error, np.sqrt(0.09 / 50))
    together, draws = metrics.coverage_band(LEVELS, 200), np.random.default_rng(1).random((2000, 200, 1))
    curves = np.mean(draws <= LEVELS, axis=1)
    held = np.mean(np.all((curves >= together.low - 1e-9) & (curves <= together.high + 1e-9), axis=1))
    assert 0.935 < held < 0.97
    p = np.array([metrics.coverage_test(curve, LEVELS, 200).p_value for curve in curves[:200]])
    outside = np.any((curves[:200] < together.low - 1e-9) | (curves[:200] > together.high + 1e-9), axis=1)
    np.testing.assert_array_equal(p <= 0.05, outside)


@pytest.mark.parametrize("unit", [1e200, 1e-200, 1e305, 1e-300])
def test_a_change_of_unit_changes_nothing(unit):
    truth, samples = (np.random.default_rng(0).normal(size=shape) for shape in ((99, 2), (99, 30, 2)))
    expected = metrics.tarp(0.5 * samples, truth, LEVELS)
    np.testing.assert_array_equal(metrics.tarp(0.5 * unit * samples, unit * truth, LEVELS), expected)
    x, y = truth, 0.5 * samples[:, 0]
    found = [metrics.two_sample_test(u * x, u * y, QuadraticDiscriminantAnalysis()).statistic for u in (1.0, unit)]
    assert found[0] == found[1] > 0.6


@pytest.mark.parametrize("which", [0, 1])
def test_an_infinite_density_is_an_error(which):
    densities = [np.zeros((9, 5)), np.zeros(9)]
    densities[which].flat[3] = np.inf
    with pytest.raises(ValueError, match=r"log_density_(samples|truth) must be below infinity"):
        metrics.expected_coverage(*densities, LEVELS)


def test_ties_are_broken_evenly():
    ranks = metrics.posterior_ranks(np.zeros((4000, 3, 1)), np.zeros((4000, 1)))
    assert stats.chisquare(np.bincount(ranks[:, 0])).pvalue > 0.01
