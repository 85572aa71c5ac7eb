"""The Gaussian mirage against integrals over the radius with Bessel functions, and against its own samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from tables import in_float64

from scorekit import denoisers, schedules
from scorekit.densities import gaussian_mirage


def half_normal(r, dim):
    return 2 * scipy.stats.norm.pdf(r, scale=np.sqrt(dim))


@in_float64
@pytest.mark.parametrize("dim", [2, 3, 20])
def test_density_and_entropy(dim):
    mirage = gaussian_mirage(dim)
    log_area = lambda r: np.log(2) + dim / 2 * np.log(np.pi) - scipy.special.gammaln(dim / 2) + (dim - 1) * np.log(r)
    r = np.array([1e-3, 0.3, 1.0, 7.0])
    x = np.zeros((4, dim))
    x[:, 1] = r
    np.testing.assert_allclose(mirage.log_density(x), np.log(half_normal(r, dim)) - log_area(r), rtol=1e-12)
    information = lambda r: half_normal(r, dim) * (log_area(r) - np.log(half_normal(r, dim)))
    reach = 12 * np.sqrt(dim)
    exact = scipy.integrate.quad(information, 0, reach, epsabs=1e-12, epsrel=1e-12, limit=400)[0]
    np.testing.assert_allclose(mirage.entropy(), exact, rtol=1e-9)


def test_samples():
    x = np.asarray(gaussian_mirage(20).sample(jax.random.key(0), (4000,)), float)
    radius = np.linalg.norm(x, axis=1)
    assert scipy.stats.kstest(radius, scipy.stats.halfnorm(scale=np.sqrt(20)).cdf).pvalue > 0.01
    angle = x[:, 0] / radius  # the first coordinate of a point on the sphere: (1 + c) / 2 is Beta((D - 1) / 2, same)
    assert scipy.stats.kstest((1 + angle) / 2, scipy.stats.beta(9.5, 9.5).cdf).pvalue > 0.01
    assert abs(np.mean(x**2) - 1.0) < 0.08  # the scale of a standard Gaussian
    assert np.mean(x**4) / np.mean(x**2) ** 2 > 6  # and far heavier tails


@in_float64
@pytest.mark.parametrize(("dim", "alpha", "sigma"), [(3, 1.0, 0.05), (20, 0.3, 0.95)])
def test_the_denoiser_is_exact(dim, alpha, sigma):
    """``E[r A(kappa r)]``, with the ratio A of Bessel functions that is the mean of cos(angle) on the sphere."""
    radii = np.array([0.01, 0.5, 2.0, 6.0])
    x_t = np.zeros((4, dim))
    x_t[:, 0] = radii
    found = jax.jit(gaussian_mirage(dim).predict)(x_t, alpha, sigma)
    order = dim / 2 - 1
    for rho, shrunk in zip(radii, found.x0[:, 0], strict=True):
        r = np.concatenate([np.geomspace(1e-9, 1e-2, 2000), np.linspace(1e-2, 10 * np.sqrt(dim), 100_001)[1:]])
        kappa = alpha * r * rho / sigma**2
        log_weight = -(r**2) / (2 * dim) - (alpha * r - rho) ** 2 / (2 * sigma**2)
        log_weight += np.log(scipy.special.ive(order, kappa)) - order * np.log(kappa)
        weight = np.exp(log_weight - log_weight.max())
        cosine = scipy.special.ive(order + 1, kappa) / scipy.special.ive(order, kappa)
        expected = scipy.integrate.simpson(weight * r * cosine, x=r) / scipy.integrate.simpson(weight, x=r)
        np.testing.assert_allclose(shrunk, expected, rtol=1e-6)
    np.testing.assert_allclose(alpha * found.x0 + sigma * found.eps, x_t, rtol=1e-12, atol=1e-14)


def test_gaussian_mirage_has_the_interface_of_densities():
    mirage, schedule = gaussian_mirage(4), schedules.Cosine()
    denoiser = denoisers.exact_denoiser(mirage, schedule)
    x, t = mirage.sample(jax.random.key(0), (5,)), jnp.linspace(0.1, 0.9, 5)
    both = jax.jit(lambda x, t: denoiser(x, t))(x, t)
    one = jax.jit(lambda x, t: denoiser(x, t))(x[2:3], t[2])
    np.testing.assert_allclose(both.x0[2:3], one.x0, rtol=1e-5)
