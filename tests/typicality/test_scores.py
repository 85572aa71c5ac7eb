"""Out-of-distribution scores, on Gaussian statistics, against scipy and numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from scorekit import typicality
from scorekit.typicality import decorrelate, gaussian_score, kernel_density_score, mean_z_score, standardise

RNG = np.random.default_rng(0)
MEAN, ROOT = np.array([3.0, -100.0, 0.01]), np.array([[2.0, 30.0, 0.001], [0.0, 10.0, 0.0], [0.0, 0.0, 0.002]])
CALIBRATION = RNG.normal(size=(2000, 3)) @ ROOT + MEAN
STATISTICS = 2.0 * RNG.normal(size=(40, 3)) @ ROOT + MEAN
Z = (STATISTICS - CALIBRATION.mean(axis=0)) / CALIBRATION.std(axis=0)


def test_standardise_has_mean_0_and_deviation_1_on_the_calibration_data():
    found = standardise(CALIBRATION)
    np.testing.assert_allclose(jnp.mean(found(CALIBRATION), axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(jnp.std(found(CALIBRATION), axis=0), 1.0, rtol=1e-3)
    np.testing.assert_allclose(found(STATISTICS), Z, rtol=1e-3, atol=1e-3)


def test_mean_z_score_is_the_mean_of_z_scores():
    np.testing.assert_allclose(mean_z_score(CALIBRATION)(STATISTICS), Z.mean(axis=1), rtol=1e-3, atol=1e-3)


def test_gaussian_score_is_minus_the_log_density_of_the_standardised_statistics():
    """Up to the shrinkage of a thousandth; it does not depend on the units of the statistics."""
    covariance = ROOT.T @ ROOT
    expected = -stats.multivariate_normal(MEAN, covariance).logpdf(STATISTICS)
    found = np.asarray(gaussian_score(CALIBRATION)(STATISTICS))
    constant = np.log(CALIBRATION.std(axis=0)).sum()
    np.testing.assert_allclose(found + constant, expected, rtol=0.1, atol=0.3)
    units = np.array([1e3, 1e-3, -5.0])
    np.testing.assert_allclose(gaussian_score(CALIBRATION * units)(STATISTICS * units), found, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_kernel_density_score_is_the_sum_of_marginal_log_densities():
    found = kernel_density_score(CALIBRATION)(STATISTICS)
    np.testing.assert_array_equal(found, -typicality.density_of_states(CALIBRATION).log_density(STATISTICS))
    inner = np.abs(Z).max(axis=1) < 1.5  # where a kernel estimate of 2000 points is accurate
    expected = -stats.norm.logpdf(STATISTICS, MEAN, np.sqrt(np.diag(ROOT.T @ ROOT))).sum(axis=1)
    assert inner.sum() > 5
    np.testing.assert_allclose(found[inner], expected[inner], atol=0.4)


def test_decorrelate_whitens_correlated_statistics():
    """In the basis of the principal components, each at unit variance but for the regularisation."""
    transform = decorrelate(CALIBRATION)
    values, vectors = np.linalg.eigh(np.corrcoef(CALIBRATION.T) * 2000 / 1999)
    covariance = np.cov(np.asarray(transform(CALIBRATION)).T)
    np.testing.assert_allclose(covariance, np.diag(values / (values + 1e-3)), atol=1e-3)
    expected = Z @ vectors / np.sqrt(values + 1e-3)
    np.testing.assert_allclose(np.abs(transform(STATISTICS)), np.abs(expected), rtol=5e-3, atol=5e-3)


def test_decorrelate_does_not_amplify_components_without_variance():
    x = RNG.normal(size=(500, 1)) @ np.ones((1, 3))
    assert np.abs(decorrelate(x)(x)).max() < 10.0
    looser = decorrelate(x, regularisation=0.1)
    shifted = x + np.array([0.0, 0.1, 0.0])
    assert np.abs(looser(shifted)).max() < np.abs(decorrelate(x)(shifted)).max()


def test_decorrelate_leaves_no_variance_to_statistics_that_determine_each_other():
    x = np.random.default_rng(0).normal(size=(300, 2)) @ np.array([[3.0, 1.0], [0.0, 0.2]]) + 5.0
    x = np.concatenate([x, x[:, :1]], axis=1)
    components = np.asarray(decorrelate(x)(x))
    np.testing.assert_allclose(np.cov(components, rowvar=False), np.diag([0.0, 1.0, 1.0]), atol=0.05)
    np.testing.assert_allclose(components.mean(axis=0), 0.0, atol=1e-5)


@pytest.mark.slow
def test_decorrelation_detects_what_marginals_do_not():
    """A point whose statistics are all typical but whose combination is not."""
    unusual = np.array([[1.5, -1.5]])
    calibration = RNG.normal(size=(300, 1)) + 0.2 * RNG.normal(size=(300, 2))
    transform = decorrelate(calibration)
    plain, better = kernel_density_score(calibration), kernel_density_score(transform(calibration))
    evaluate = jax.jit(lambda score, values: score(values))
    points = np.concatenate([calibration, unusual])
    by_marginals, by_components = evaluate(plain, points), evaluate(better, transform(points))
    assert np.mean(by_marginals[:-1] < by_marginals[-1]) < 0.97
    assert np.mean(by_components[:-1] < by_components[-1]) > 0.995


@pytest.mark.slow
def test_scores_are_jit_arguments_that_do_not_retrace():
    traces = []

    @jax.jit
    def evaluate(score, statistics):
        traces.append(1)
        return score(statistics)

    for factory in (kernel_density_score, gaussian_score, mean_z_score, decorrelate):
        traces.clear()
        for calibration in (CALIBRATION[:50], CALIBRATION[50:100]):
            score = factory(calibration)
            np.testing.assert_allclose(evaluate(score, STATISTICS), score(STATISTICS), rtol=1e-3, atol=1e-3)
        assert len(traces) == 1


@pytest.mark.parametrize("factory", [kernel_density_score, gaussian_score, mean_z_score, decorrelate, standardise])
def test_scores_invalid_calibration_raises(factory):
    with pytest.raises(ValueError, match=r"must have shape \(N, F\) with N >= 2 and F >= 1, got \(3,\)"):
        factory(np.ones(3))


def test_scores_constant_statistics_raise():
    with pytest.raises(ValueError, match="std of calibration must be > 0 for every statistic"):
        gaussian_score(np.ones((9, 2)))
