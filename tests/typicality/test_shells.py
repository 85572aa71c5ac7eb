"""Coins, shells and the mirage against scipy and the figures of the essays, in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from scorekit import typicality
from scorekit.densities import gaussian, gaussian_mirage
from tests.tables import in_float64

# The table of Dieleman 2020: p(sequence), number of sequences and p(heads), for 0 to 16 heads.
COINS = """
2.33e-10 1 2.33e-10
6.98e-10 16 1.12e-8
2.10e-9 120 2.51e-7
6.29e-9 560 3.52e-6
1.89e-8 1820 3.43e-5
5.66e-8 4368 2.47e-4
1.70e-7 8008 1.36e-3
5.09e-7 11440 5.83e-3
1.53e-6 12870 1.97e-2
4.58e-6 11440 5.24e-2
1.37e-5 8008 1.10e-1
4.12e-5 4368 1.80e-1
1.24e-4 1820 2.25e-1
3.71e-4 560 2.08e-1
1.11e-3 120 1.34e-1
3.34e-3 16 5.35e-2
1.00e-2 1 1.00e-2
"""


@in_float64
def test_coin_table_matches_scipy():
    table = typicality.coin_table(0.75, 16)
    published = np.array([line.split() for line in COINS.split("\n") if line], float)
    ours = np.exp(np.stack([table.log_sequence, table.log_count, table.log_mass], axis=1))
    assert np.array([f"{v:.2e}" for v in ours.ravel()]).tolist() == [f"{v:.2e}" for v in published.ravel()]
    np.testing.assert_allclose(ours[:, 1], scipy.special.comb(16, np.arange(17)), rtol=1e-13)
    np.testing.assert_allclose(ours[:, 2], scipy.stats.binom.pmf(np.arange(17), 16, 0.75), rtol=1e-13)
    np.testing.assert_allclose(ours[:, 2].sum(), 1.0, rtol=1e-14)
    assert np.argmax(ours[:, 0]) == 16  # the likeliest sequence is all heads
    assert np.argmax(ours[:, 2]) == 12  # the likeliest number of heads is 12


@in_float64
def test_shell_mass_of_high_dimensional_gaussians():
    """The essay: just over 84 % in [9, 11], more than 99 % in [8, 12], about 0.2 % below 8; and most of the mass in a
    typical set that is a shell of width 4."""
    low, high = typicality.typical_radii(100, math.sqrt(384))
    assert abs(high - low - 4.0) < 1e-12
    found = jax.jit(typicality.shell_mass)(100.0, jnp.array([9.0, 8.0, 0.0, low]), jnp.array([11.0, 12.0, 8.0, high]))
    np.testing.assert_allclose(
        found,
        [0.8428201734535, 0.9954365803337, 0.0019341687489, np.diff(scipy.stats.chi.cdf([low, high], 100))[0]],
        rtol=1e-10,
    )
    assert found[3] > 0.98


@in_float64
def test_shell_mass_matches_the_chi_distribution():
    dims = np.array([1, 2, 3, 7, 30, 100, 1000, 10**5, 10**6])[:, None]
    low = np.sqrt(dims) + np.array([-20.0, -3.0, -1.0, -0.2, 0.0, 0.5, 3.0, 20.0])
    low = np.maximum(low, 0.0)
    high = low + np.array([0.01, 0.3, 5.0, 1.0, 2.0, 0.5, 50.0, 1.0])
    exact = scipy.stats.chi.cdf(high, dims) - scipy.stats.chi.cdf(low, dims)
    # scipy's difference of two values near 1 loses digits where the shell is far out.
    mass = jax.jit(typicality.shell_mass)
    np.testing.assert_allclose(mass(dims, low, high), exact, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(mass(dims, 0 * low, 0 * low + np.inf), 1.0, rtol=1e-12)


def test_shell_mass_in_float32():
    """Where the incomplete gamma function of float32 is off by 0.03."""
    found = jax.jit(typicality.shell_mass)(1e6, 999.0, 1000.5)
    assert found.dtype == jnp.float32
    exact = scipy.stats.chi.cdf(1000.5, 1e6) - scipy.stats.chi.cdf(999.0, 1e6)
    np.testing.assert_allclose(found, exact, atol=1e-3)


@in_float64
def test_log_sphere_area_matches_known_values():
    k = np.arange(1, 31)
    area = np.exp(typicality.log_sphere_area(k))
    np.testing.assert_allclose(area, 2 * np.pi ** (k / 2) / scipy.special.gamma(k / 2), rtol=1e-13)
    assert k[np.argmax(area)] == 7
    np.testing.assert_allclose(area[6], 16 * np.pi**3 / 15, rtol=1e-14)


@in_float64
def test_typical_mass_tends_to_one():
    """Exact, through the chi-square distribution; the same for a Gaussian with any covariance."""
    dims = np.array([1.0, 10, 100, 1000, 10**4])[:, None]
    epsilon = np.concatenate([0.1 * dims, np.tile(np.logspace(-1, 2, 30), (5, 1))], axis=1)
    exact = scipy.stats.chi2.cdf(dims + 2 * epsilon, dims) - scipy.stats.chi2.cdf(dims - 2 * epsilon, dims)
    mass = jax.jit(typicality.typical_mass, static_argnames="unit")
    found = mass(dims, epsilon)
    np.testing.assert_allclose(found, exact, rtol=1e-11)
    np.testing.assert_allclose(mass(dims, epsilon / math.log(2), unit="bits"), exact, rtol=1e-11)
    assert np.all(np.diff(found[:, 0]) > 0)  # 0.1 nats per dimension
    assert 1 - found[-1, 0] < 1e-12


@in_float64
def test_typical_radii_are_where_membership_changes():
    shell = gaussian(jnp.zeros(100), std=1.0)
    log_density = jax.jit(shell.log_density)
    for unit, epsilon in (("nats", 10.0), ("bits", 7.0)):
        low, high = (float(r) for r in typicality.typical_radii(100, epsilon, unit))
        radii = np.array([0.0, low - 1e-9, low + 1e-9, high - 1e-9, high + 1e-9])
        x = jnp.zeros((5, 100)).at[:, 0].set(radii)
        inside = typicality.typical_set(log_density(x), shell.entropy(), epsilon, unit)
        assert inside.tolist() == [False, False, True, True, False]


@in_float64
def test_lambert_w():
    z = np.concatenate([np.logspace(-300, 300, 121), [1.0, math.e]])
    beyond = np.array([-1e5, -800.0, 1e3, 1e8])  # where exp(y) is 0 or infinite
    w = np.asarray(jax.jit(typicality.lambert_w_exp)(np.concatenate([np.log(z), beyond])))
    np.testing.assert_allclose(w[:-4], scipy.special.lambertw(z).real, rtol=1e-13)
    w = w[-4:]
    np.testing.assert_allclose(w[2:] + np.log(w[2:]), beyond[2:], rtol=1e-14)
    np.testing.assert_array_equal(w[:2], np.exp(beyond[:2]))
    slope = jax.jit(jax.vmap(jax.grad(typicality.lambert_w_exp)))(jnp.array([-5.0, 0.3, 1.0, 40.0]))
    w = scipy.special.lambertw(np.exp([-5.0, 0.3, 1.0, 40.0])).real
    np.testing.assert_allclose(slope, w / (1 + w), rtol=1e-12)


@in_float64
def test_the_typical_radius_of_the_mirage():
    k = np.unique(np.round(np.logspace(0, 6, 60)))
    with np.errstate(divide="ignore"):
        argument = np.exp(1 / (k[1:] - 1) + np.log(k[1:] / 2) - np.euler_gamma) / (k[1:] * (k[1:] - 1))
    expected = np.sqrt(k[1:] * (k[1:] - 1) * scipy.special.lambertw(argument).real)
    with_edge = np.concatenate([k, [1 + 1e-6]])  # whose argument of W is near exp(1e6)
    found = np.asarray(jax.jit(typicality.mirage_typical_radius)(with_edge))
    np.testing.assert_allclose(found[-1], 1.0, rtol=1e-5)
    found = found[:-1]
    np.testing.assert_allclose(found[1:], expected, rtol=1e-12)
    assert found[0] == 1.0  # in one dimension it is a Gaussian
    assert abs(found[-1] / 1e3 - 0.52984) < 5e-6
    np.testing.assert_allclose(found[-1] / 1e3, math.exp(-np.euler_gamma / 2) / math.sqrt(2), rtol=2e-6)


@in_float64
@pytest.mark.parametrize("dim", [2, 5, 100, 1000])
def test_the_radius_is_where_the_information_is_the_entropy(dim):
    mirage, radius = gaussian_mirage(dim), typicality.mirage_typical_radius(dim)
    x = jnp.zeros(dim).at[0].set(radius)
    np.testing.assert_allclose(mirage.log_density(x), -mirage.entropy(), rtol=1e-12, atol=1e-12)


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match=r"high must be >= low = 3\.0, got 2\.0"):
        typicality.shell_mass(3, 3.0, 2.0)
