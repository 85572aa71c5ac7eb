"""Gaussians fitted in closed form, against the sample covariance and its eigendecomposition."""

import jax.numpy as jnp
import numpy as np
import pytest
from tables import in_float64

from scorekit.densities import fit_gaussian

RNG = np.random.default_rng(0)


def data(n, d):
    return RNG.normal(size=(n, d)) @ RNG.normal(size=(d, d)) + RNG.normal(size=d)


@pytest.mark.parametrize("dim", [1, 2, 7])
@in_float64
def test_fit_gaussian_with_full_rank_has_the_sample_mean_and_covariance(dim):
    x = data(50, dim)
    for rank in (None, dim):
        fitted = fit_gaussian(x, rank)
        np.testing.assert_allclose(fitted.mean, x.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(fitted.covariance(), np.atleast_2d(np.cov(x.T)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("n", "dim", "rank"), [(50, 1, 0), (50, 2, 1), (60, 7, 3), (4, 7, 2), (4, 7, 6), (9, 7, 0)])
@in_float64
def test_fit_gaussian_keeps_the_principal_directions_and_the_mean_variance_of_the_rest(n, dim, rank):
    """Also with fewer examples than dimensions, and with more directions than the data determine."""
    x, floor = data(n, dim), 0.1
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x.T)))
    values, vectors = values[::-1], vectors[:, ::-1]
    residual = max(values[rank:].mean(), floor**2)
    expected = (vectors * np.where(np.arange(dim) < rank, np.maximum(values, residual), residual)) @ vectors.T
    fitted = fit_gaussian(x, rank, floor)
    assert fitted.basis.shape == (dim, rank)
    np.testing.assert_allclose(fitted.basis.T @ fitted.basis, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(fitted.covariance(), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fitted.residual, residual, rtol=1e-12)


@pytest.mark.slow
def test_fit_gaussian_with_a_floor_bounds_every_variance():
    x = np.stack([RNG.normal(size=20), np.full(20, 3.0)], axis=1)
    for rank in (None, 0, 1):
        fitted = fit_gaussian(x, rank, floor=0.2)
        assert np.linalg.eigvalsh(fitted.covariance()).min() >= 0.04 - 1e-6
        assert np.isfinite(fitted.log_density(jnp.float32(x))).all()
    degenerate = fit_gaussian(x[:1].repeat(2, axis=0), floor=0.2)
    np.testing.assert_allclose(degenerate.covariance(), 0.04 * np.eye(2), atol=1e-7)
