"""Spectra against naive sums; the Wiener filter against exact denoisers of fields, in expectation and by sampling."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import in_float64

from scorekit.denoisers import denoiser_from_network, exact_denoiser
from scorekit.densities import random_fields, spectra
from scorekit.schedules import Cosine, GeometricVE

RNG = np.random.default_rng(0)
GRIDS = [(7,), (8,), (1,), (4, 4), (5, 8), (3, 2), (2, 3, 4)]


def ring_of(grid, size):
    """For each frequency of the grid, its ring: naive loops over integers."""
    found = {}
    for place in np.ndindex(*grid):
        signed = [k if k <= n // 2 else k - n for k, n in zip(place, grid, strict=True)]
        found[place] = round(size * np.sqrt(sum((k / n) ** 2 for k, n in zip(signed, grid, strict=True))))
    return found


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_bands_partition_the_grid_into_rings(grid):
    bands = spectra.radial_bands(grid)
    rings = ring_of(grid, max(grid))
    order = sorted(set(rings.values()))
    for place, ring in rings.items():
        assert bands.index[place] == order.index(ring)
    assert bands.count.sum() == np.prod(grid)
    assert bands.count.min() > 0
    assert np.all(np.diff(bands.frequency) > 0)
    assert (bands.frequency[0], bands.count[0]) == (0.0, 1)


def test_radial_bands_with_custom_edges():
    bands = spectra.radial_bands((8,), edges=(0.125, 0.3, 0.9))  # 0.125 begins a band; nothing lies beyond 0.9
    assert bands.index.tolist() == [0, 1, 1, 2, 2, 2, 1, 1]
    np.testing.assert_allclose(bands.frequency, [0.0, (0.125 + 0.25) / 2, (2 * 0.375 + 0.5) / 3])


@pytest.mark.parametrize("grid", [(7,), (5, 8), (2, 3, 4)], ids=str)
@in_float64
def test_band_power_is_the_naive_transform_and_obeys_parseval(grid):
    bands, x = spectra.radial_bands(grid), RNG.normal(size=(3, *grid, 2))
    power, spectrum = map(np.asarray, jax.jit(lambda x: (spectra.band_power(x, bands), spectra.power_spectrum(x)))(x))
    expected, points = np.zeros((3, len(bands.count))), np.stack(list(np.ndindex(*grid)))
    for place in np.ndindex(*grid):
        wave = np.exp(-2j * np.pi * points @ (np.array(place) / grid)) / np.sqrt(len(points))
        expected[:, bands.index[place]] += np.mean(np.abs(np.einsum("p,npc->nc", wave, x.reshape(3, -1, 2))) ** 2, -1)
    np.testing.assert_allclose(power, expected / bands.count, rtol=1e-9, atol=1e-12)
    mean_square = (x**2).mean(axis=tuple(range(1, x.ndim)))
    np.testing.assert_allclose(power @ bands.count / np.prod(grid), mean_square, rtol=1e-12)
    np.testing.assert_allclose(spectrum, power.mean(axis=0), rtol=1e-12)


def test_white_noise_is_flat_and_half_precision_is_summed_in_float32():
    x = jax.random.normal(jax.random.key(0), (2000, 9, 1))
    power, low = jax.jit(lambda x: [spectra.power_spectrum(x), spectra.power_spectrum(x.astype(jnp.bfloat16))])(x)
    np.testing.assert_allclose(power, 1.0, atol=0.15)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, power, rtol=1e-2)


@jax.jit
def wiener(power, log_snr):
    return tuple(f(power, log_snr) for f in (spectra.band_snr, spectra.wiener_gain, spectra.wiener_error))


@in_float64
def test_wiener_gain_matches_the_textbook_filter_at_every_time():
    power = np.array([5.0, 1.0, 0.02, 0.0])
    for schedule in (Cosine(), GeometricVE()):
        t = np.linspace(0.05, 0.95, 7)
        alpha, sigma = (np.asarray(f(t))[:, None] for f in (schedule.alpha, schedule.sigma))
        found_snr, gain, error = wiener(power, np.asarray(schedule.log_snr(t)))
        noisy = alpha**2 * power + sigma**2
        np.testing.assert_allclose(found_snr, alpha**2 * power / sigma**2, rtol=1e-9)
        np.testing.assert_allclose(gain, alpha**2 * power / noisy, rtol=1e-9)
        np.testing.assert_allclose(error, power * sigma**2 / noisy, rtol=1e-9)
        np.testing.assert_allclose((alpha / sigma) ** 2 * error, gain, rtol=1e-9)  # the error of eps is the gain
    _, gain, error = wiener(power, np.array([-np.inf, np.inf]))
    np.testing.assert_array_equal(gain, [[0, 0, 0, 0], [1, 1, 1, 0]])
    np.testing.assert_array_equal(error, [power, 0 * power])


@in_float64
def test_transition_log_snr_is_where_the_snr_of_a_band_is_one():
    power, schedule = np.array([5.0, 1.0, 0.02]), Cosine()
    t = schedule.time_at(spectra.transition_log_snr(power))
    snr = spectra.band_snr(power, schedule.log_snr(t))
    np.testing.assert_allclose(np.diag(snr), 1.0, rtol=1e-9)


@in_float64
def test_cutoff_frequency_is_where_the_snr_is_one():
    bands = spectra.radial_bands((64,))
    edges = jax.jit(lambda gain: spectra.cutoff_frequency(gain, bands))
    gain = lambda power, log_snr: 1 / (1 + np.exp(-np.asarray(log_snr)[:, None] - np.log(power)))
    power = 7.0 * np.exp(-9.0 * bands.frequency)
    log_snr = np.linspace(-1.5, 2.0, 9)
    np.testing.assert_allclose(edges(gain(power, log_snr)), (log_snr + np.log(7.0)) / 9.0, rtol=1e-9)
    # nothing, nothing, everything; a power law, exactly at a band; two humps: the last crossing counts
    law = np.maximum(bands.frequency, 1 / 64) ** -2.0
    humps = np.where(np.arange(33) < 5, 0.9, np.where(np.arange(33) == 20, 0.75, 0.25))
    at_ten = gain(law, [-np.log(law[10])])[0]
    at_ten[10] = 0.5
    cases = np.stack([np.zeros(33), gain(power, [-2.0])[0], np.ones(33), at_ten, humps] + 4 * [humps])
    expected = [0.0, 0.0, 0.5, 10 / 64, 20.5 / 64]
    np.testing.assert_allclose(edges(cases)[:5], expected, atol=1e-9)
    assert edges(cases.reshape(3, 3, 33)).shape == (3, 3)


@pytest.mark.slow
def test_errors_by_band_are_the_closed_form_within_their_error():
    grid, schedule = (6, 5), Cosine()
    field, bands = random_fields.power_law(grid, 2.0), spectra.radial_bands(grid)

    @jax.jit
    def measure(key, field):
        x0 = field.sample(key, (3000,))
        denoiser = exact_denoiser(field, schedule)

        @chex.assert_max_traces(n=1)
        def counted(x, t):
            chex.assert_rank(t, 0)
            return denoiser(x, t)

        return spectra.error_by_band(key, counted, schedule, x0, ts, bands)

    ts = jnp.array([0.1, 0.5, 0.9])
    found = measure(jax.random.key(3), field)
    errors = spectra.wiener_error(jnp.ravel(field.power), schedule.log_snr(ts))
    expected = np.stack([np.bincount(np.ravel(bands.index), row) for row in np.asarray(errors)]) / bands.count
    deviation = (found.mean - expected) / found.standard_error
    assert np.abs(deviation).max() < 4.5
    assert 0.5 < np.std(deviation) < 1.6  # the standard error is neither too small nor too large


@pytest.mark.slow
def test_errors_by_band_of_any_denoiser():
    """A network that answers 0 errs by the data themselves; the error of each example counts once."""
    x0 = jax.random.normal(jax.random.key(0), (5, 8, 2))
    bands = spectra.radial_bands((8,))
    zero = denoiser_from_network(lambda x, t: 0 * x, Cosine(), "x0")
    measure = jax.jit(lambda x0: spectra.error_by_band(jax.random.key(1), zero, Cosine(), x0, jnp.array([0.5]), bands))
    found = measure(x0)
    each = np.asarray(spectra.band_power(x0, bands))
    np.testing.assert_allclose(found.mean[0], each.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.standard_error[0], each.std(axis=0, ddof=1) / np.sqrt(5), rtol=1e-5)


@in_float64
def test_the_exact_denoiser_of_a_field_has_the_wiener_error_in_expectation():
    """No sampling: the denoiser is linear, so that its error covariance is a product of dense matrices."""
    grid, schedule, ts = (3, 4), Cosine(), jnp.array([0.2, 0.5, 0.9])
    field, d = random_fields.power_law(grid, 1.7), 12
    transform = np.stack([np.fft.fftn(e.reshape(grid), norm="ortho").ravel() for e in np.eye(d)], 1)
    covariance = (transform.conj().T @ np.diag(np.ravel(field.power)) @ transform).real
    denoiser = exact_denoiser(field, schedule)
    jacobian = jax.jacfwd(lambda x, t: denoiser(x.reshape(1, *grid, 1), t).x0.ravel())
    matrices = np.asarray(jax.jit(jax.vmap(jacobian, (None, 0)))(jnp.zeros(d), ts))
    for t, a in zip(ts, matrices, strict=True):
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        bias = alpha * a - np.eye(d)
        error = transform @ (bias @ covariance @ bias.T + sigma**2 * a @ a.T) @ transform.conj().T
        expected = spectra.wiener_error(np.ravel(field.power), schedule.log_snr(t))
        np.testing.assert_allclose(np.diag(error).real, expected, rtol=1e-10)


def test_the_spectrum_of_a_field_is_its_power():
    field = random_fields.power_law((6, 9), exponent=2.0, channels=2)
    bands, n = spectra.radial_bands((6, 9)), 4000
    x = jax.jit(lambda key: field.sample(key, (n,)))(jax.random.key(0))
    each = np.asarray(jax.jit(spectra.band_power)(x, bands))
    power = np.bincount(np.ravel(bands.index), np.ravel(field.power)) / bands.count
    np.testing.assert_array_less(np.abs(each.mean(axis=0) - power), 5 * each.std(axis=0) / np.sqrt(n))
