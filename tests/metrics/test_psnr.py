"""The peak signal-to-noise ratio against its definition in float64."""

import numpy as np

from scorekit.metrics import psnr


def test_psnr_averages_decibels_over_examples():
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (3, 4, 4, 1))
    x = truth + np.array([0.01, 0.1, 1.0])[:, None, None, None] * rng.normal(size=truth.shape)
    error = np.mean((x - truth) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(psnr(x, truth), np.mean(10 * np.log10(4 / error)), rtol=1e-5)
    np.testing.assert_allclose(psnr(255 * x, 255 * truth, 2 * 255), psnr(x, truth), rtol=1e-5)


def test_psnr_of_equal_arrays_is_finite():
    np.testing.assert_allclose(psnr(np.ones((2, 3)), np.ones((2, 3))), 10 * np.log10(4e12), rtol=1e-6)
