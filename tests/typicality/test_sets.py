"""Membership, entropies, trajectories and modes where the answer is known; coins and shells against scipy."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from tables import in_float64

import scorekit as sk
from scorekit import typicality
from scorekit.densities import gaussian, gaussian_mirage

K = 64
SCHEDULE = sk.schedules.Cosine()
SHELL = sk.densities.gaussian(jnp.full(K, 0.5), std=2.0)
LOG_DENSITY = jax.jit(SHELL.log_density)


@functools.cache
def shell_samples():
    return jax.jit(SHELL.sample, static_argnums=1)(jax.random.key(0), (2000,))


def test_the_entropy_of_samples():
    log_p = LOG_DENSITY(shell_samples())
    found = typicality.monte_carlo_entropy(log_p)
    # -log p - H = (r^2 - K) / 2 has variance K / 2
    np.testing.assert_allclose(found.standard_error, np.sqrt(K / 2 / 2000), rtol=0.1)
    assert abs(found.value - SHELL.entropy()) < 3 * found.standard_error
    excess = typicality.excess_information(log_p, SHELL.entropy())
    radius = np.linalg.norm((shell_samples() - SHELL.mean) / 2.0, axis=1)
    np.testing.assert_allclose(excess, (radius**2 - K) / 2, atol=2e-3)
    with pytest.raises(ValueError, match=r"log_density must have shape \(N,\) with N >= 2, got \(1,\)"):
        typicality.monte_carlo_entropy(log_p[:1])


@pytest.mark.slow
@pytest.mark.parametrize("network", ["exact", "wrong"])
def test_local_typicality_of_trajectories(network):
    """The steps of DDPM are chi-square whatever the network; a sampler without noise is at -D / 2 throughout."""
    denoiser = sk.denoisers.exact_denoiser(SHELL, SCHEDULE)
    if network == "wrong":
        denoiser = sk.denoiser_from_network(lambda x, t: jnp.tanh(x), SCHEDULE, "x0")
    ts = jnp.linspace(0.95, 0.05, 6)
    noise = jax.random.normal(jax.random.key(1), (200, K))

    @jax.jit
    def run(key, noise):
        _, states = sk.samplers.trajectory(denoiser, SCHEDULE, sk.solvers.Ancestral(), noise, ts, key=key)
        path = jnp.concatenate([noise[None], states])
        return path, typicality.local_typicality(denoiser, SCHEDULE, path, ts)

    path, found = run(jax.random.key(2), noise)
    assert found.shape == (5, 200)
    for step in np.asarray(found, float):
        assert scipy.stats.kstest(2 * step + K, scipy.stats.chi2(K).cdf).pvalue > 1e-3

    # the mean of each step, from an independent formula: the posterior q(x_s | x_t, x0) by conditioning a Gaussian
    x_t, t, s = path[0], ts[0], ts[1]
    a_t, a_s, s_t, s_s = (np.float64(f(u)) for f in (SCHEDULE.alpha, SCHEDULE.sigma) for u in (t, s))
    gain = (a_t / a_s) * s_s**2 / s_t**2
    mean = a_s * denoiser(x_t, t).x0 + gain * (x_t - a_t * denoiser(x_t, t).x0)
    greedy = typicality.local_typicality(denoiser, SCHEDULE, jnp.stack([x_t, mean]), ts[:2])
    np.testing.assert_allclose(greedy, -K / 2, rtol=1e-4)


def test_seek_mode_contracts_at_the_expected_rate():
    denoiser = sk.denoisers.exact_denoiser(SHELL, SCHEDULE)
    x = shell_samples()[:3]
    climb = jax.jit(functools.partial(typicality.seek_mode, denoiser, SCHEDULE, steps=5))
    for t, step_size in ((0.2, 1.0), (0.4, 0.3)):  # one program for both
        found = climb(x, t, step_size=step_size)
        a, s = float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t))
        rate = 1 - step_size * s**2 / (4 * a**2 + s**2)
        np.testing.assert_allclose(found - SHELL.mean, rate**5 * (x - SHELL.mean), rtol=2e-4, atol=1e-5)


# ---- coins, shells and the mirage ------------------------------------------------------------------------------------


@in_float64
def test_coin_table_matches_scipy():
    table, heads = typicality.coin_table(0.75, 16), np.arange(17)
    np.testing.assert_allclose(np.exp(table.log_sequence), 0.75**heads * 0.25 ** (16 - heads), rtol=1e-13)
    np.testing.assert_allclose(np.exp(table.log_count), scipy.special.comb(16, heads), rtol=1e-13)
    np.testing.assert_allclose(np.exp(table.log_mass), scipy.stats.binom.pmf(heads, 16, 0.75), rtol=1e-13)


@pytest.mark.slow
def test_no_terms_of_a_long_coin_table_cancel():
    for p, n in ((0.5, 1), (0.3, 2), (0.01, 100), (0.5, 10**6), (0.3, 10**6)):
        table = typicality.coin_table(p, n)
        assert table.log_mass.dtype == jnp.float32
        exact = scipy.stats.binom.logpmf(np.arange(n + 1), n, p)
        np.testing.assert_allclose(table.log_mass[exact > -30], exact[exact > -30], atol=3e-5)
        np.testing.assert_allclose(jnp.exp(table.log_mass).sum(), 1.0, rtol=3e-6)


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
    with jax.enable_x64(False):  # where the incomplete gamma function is off by 0.03
        found = jax.jit(typicality.shell_mass)(1e6, 999.0, 1000.5)
        around_0 = typicality.shell_mass(np.array([1, 1, 2]), 0.0, np.array([0.0, 1e-6, 0.0]))
    np.testing.assert_allclose(around_0, [0.0, 1e-6 * np.sqrt(2 / np.pi), 0.0], rtol=1e-6)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, scipy.stats.chi.cdf(1000.5, 1e6) - scipy.stats.chi.cdf(999.0, 1e6), atol=1e-3)


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
def test_membership_changes_at_the_radii_of_the_shell():
    shell = gaussian(jnp.zeros(100), std=1.0)
    log_density = jax.jit(shell.log_density)
    for unit, epsilon, nats in (("nats", 10.0, 10.0), ("bits", 7.0, 7.0 * math.log(2))):
        low, high = math.sqrt(100 - 2 * nats), math.sqrt(100 + 2 * nats)
        radii = np.array([0.0, low - 1e-9, low + 1e-9, high - 1e-9, high + 1e-9])
        x = jnp.zeros((5, 100)).at[:, 0].set(radii)
        inside = typicality.typical_set(log_density(x), shell.entropy(), epsilon, unit)
        assert inside.tolist() == [False, False, True, True, False]


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
