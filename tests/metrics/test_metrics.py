"""Distances between sets against NumPy in float64, SciPy, scikit-learn and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, optimize, stats
from sklearn.neighbors import NearestNeighbors

from scorekit import metrics

energy = jax.jit(metrics.energy_distance)
frechet = jax.jit(metrics.frechet_distance)
precision_recall = jax.jit(metrics.precision_recall, static_argnames="k")
density_coverage = jax.jit(metrics.density_coverage, static_argnames="k")
sliced = jax.jit(metrics.sliced_wasserstein, static_argnames="num_projections")


def normal(n, d, seed, shift=0.0, scale=1.0):
    return (shift + scale * np.random.default_rng(seed).standard_normal((n, d))).astype(np.float32)


def pairwise(x, y):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))


# ---- energy distance


def test_energy_distance_matches_numpy_and_scipy():
    x, y = normal(9, 1, 0), normal(14, 1, 1, shift=1.0)
    within_x, within_y = pairwise(x, x).sum() / (9 * 8), pairwise(y, y).sum() / (14 * 13)
    np.testing.assert_allclose(energy(x, y), 2 * pairwise(x, y).mean() - within_x - within_y, rtol=1e-5)
    # SciPy takes the root, and counts the distance of a point to itself.
    with_self = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    np.testing.assert_allclose(energy(x, y), with_self - within_x / 9 - within_y / 14, rtol=1e-4)


def test_the_number_of_pairs_may_exceed_32_bits():
    many, few = jax.ShapeDtypeStruct((50_000, 1), jnp.float32), jax.ShapeDtypeStruct((3, 1), jnp.float32)
    assert jax.eval_shape(metrics.energy_distance, many, few).shape == ()


@pytest.mark.slow
def test_energy_distance_has_a_finite_gradient_at_coinciding_points():
    x = jnp.asarray([[0.0, 1.0], [0.0, 1.0], [2.0, 2.0]])
    gradient = jax.grad(lambda x: metrics.energy_distance(x, x[::-1] + 1.0))(x)
    assert np.isfinite(gradient).all()


# ---- Fréchet distance


def test_frechet_distances_of_features_and_of_statistics_match_scipy_sqrtm():
    mix = normal(6, 6, 5)
    x, y = normal(40, 6, 0), normal(30, 6, 1) @ mix + 0.5
    a, b = np.cov(x.T.astype(np.float64)), np.cov(y.T.astype(np.float64))
    cross = np.trace(linalg.sqrtm(a @ b).real)
    exact = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * cross
    np.testing.assert_allclose(frechet(x, y), exact, rtol=1e-4)
    np.testing.assert_allclose(metrics.fid(*map(metrics.feature_statistics, (x, y))), exact, rtol=1e-8)


@pytest.mark.parametrize("n", [5, 100])  # fewer points than dimensions, and more
def test_frechet_distance_of_a_set_to_itself_is_zero_in_float32(n):
    x = normal(n, 32, 0)
    assert abs(frechet(x, x)) < 1e-5 * np.trace(np.cov(x.T))
    np.testing.assert_allclose(frechet(x, x + 2.0), 32 * 4.0, rtol=1e-5)


# ---- neighbours


@pytest.mark.parametrize("k", [1, 3])
def test_precision_recall_density_coverage_match_scikit_learn(k):
    real, fake = normal(60, 3, 0), normal(45, 3, 1, shift=0.8, scale=0.6)

    def radii(x):
        return NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1]  # leaves the point itself out

    across = pairwise(real, fake)
    in_real, in_fake = across <= radii(real)[:, None], across <= radii(fake)[None]
    found = precision_recall(real, fake, k=k)
    np.testing.assert_allclose(found.precision, in_real.any(0).mean(), atol=1e-6)
    np.testing.assert_allclose(found.recall, in_fake.any(1).mean(), atol=1e-6)
    found = density_coverage(real, fake, k=k)
    np.testing.assert_allclose(found.density, in_real.sum(0).mean() / k, atol=1e-6)
    np.testing.assert_allclose(found.coverage, in_real.any(1).mean(), atol=1e-6)


def test_neighbour_metrics_of_copies_and_distant_points():
    """Balls of duplicates have radius zero."""
    for x in (normal(40, 4, 0), np.zeros((40, 4), np.float32)):
        assert precision_recall(x, x, k=3) == (1.0, 1.0)
        assert density_coverage(x, x, k=3).coverage == 1.0
        assert precision_recall(x, x + 100.0, k=3) == (0.0, 0.0)
        assert density_coverage(x, x + 100.0, k=3) == (0.0, 0.0)


# ---- sliced Wasserstein


def test_sliced_wasserstein_matches_optimal_assignment():
    x, y = normal(6, 1, 0), normal(9, 1, 1, shift=2.0)
    copies_x, copies_y = np.repeat(x, 3, axis=0), np.repeat(y, 2, axis=0)  # 18 points each
    cost = pairwise(copies_x, copies_y) ** 2
    exact = np.sqrt(cost[optimize.linear_sum_assignment(cost)].mean())
    np.testing.assert_allclose(sliced(jax.random.key(0), x, y, num_projections=2), exact, rtol=1e-5)


def test_sliced_wasserstein_of_a_shift():
    # W_2 along w is |w.shift|, and E (w.shift)^2 = |shift|^2 / D.
    x, shift = normal(30, 5, 0), np.array([3.0, 0, 0, 4.0, 0], np.float32)
    found = sliced(jax.random.key(1), x, x + shift, num_projections=4000)
    np.testing.assert_allclose(found, 5.0 / np.sqrt(5), rtol=0.05)
    assert sliced(jax.random.key(1), x, x[::-1], num_projections=8) < 1e-6


# ---- Vendi score


def test_vendi_score_of_copies_and_of_distant_points():
    """Identical points are one, n orthogonal ones n, groups of copies exp(entropy) of their shares."""
    for bandwidth in (None, 0.01):
        vendi = jax.jit(lambda x, bandwidth=bandwidth: metrics.vendi_score(x, bandwidth))
        assert float(vendi(np.ones((8, 8)))) == pytest.approx(1.0, abs=1e-4)
        assert float(vendi(np.eye(8))) == pytest.approx(8.0, rel=1e-4)
        groups = np.repeat(3.0 * np.eye(8)[:3], [1, 2, 5], axis=0)
        shares = np.array([1, 2, 5]) / 8
        assert float(vendi(groups)) == pytest.approx(np.exp(stats.entropy(shares)), rel=1e-4)
    x = np.random.default_rng(0).normal(size=(30, 4))
    kernel = np.exp(-0.5 * pairwise(x, x) ** 2 / 0.7**2) / 30
    expected = np.exp(stats.entropy(np.clip(np.linalg.eigvalsh(kernel), 0, None)))
    assert float(jax.jit(metrics.vendi_score)(x, 0.7)) == pytest.approx(expected, rel=1e-3)


# ---- contracts


def test_bfloat16_features_are_converted_to_float32():
    x, y = (jnp.asarray(normal(20, 3, seed), jnp.bfloat16) for seed in (0, 1))
    for metric in (energy, frechet):
        found = metric(x, y)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, metric(x.astype(jnp.float32), y.astype(jnp.float32)), rtol=1e-6)


# ---- peak signal-to-noise ratio


def test_psnr_averages_decibels_over_examples():
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (3, 4, 4, 1))
    x = truth + np.array([0.01, 0.1, 1.0])[:, None, None, None] * rng.normal(size=truth.shape)
    error = np.mean((x - truth) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(metrics.psnr(x, truth), np.mean(10 * np.log10(4 / error)), rtol=1e-5)
    np.testing.assert_allclose(metrics.psnr(255 * x, 255 * truth, 2 * 255), metrics.psnr(x, truth), rtol=1e-5)


def test_psnr_of_equal_arrays_is_finite():
    np.testing.assert_allclose(metrics.psnr(np.ones((2, 3)), np.ones((2, 3))), 10 * np.log10(4e12), rtol=1e-6)
