"""PCM and mu-law codes: exact round trips, the statistics of dither, and the companding law."""

import jax
import numpy as np
import pytest

from scorekit.audio import pcm

pcm_to_float, float_to_pcm = (jax.jit(f, static_argnames="bits") for f in (pcm.pcm_to_float, pcm.float_to_pcm))
mu_law_encode, mu_law_decode = (jax.jit(f, static_argnames="num_codes") for f in (pcm.mu_law_encode, pcm.mu_law_decode))
mu_law_compress, mu_law_expand = jax.jit(pcm.mu_law_compress), jax.jit(pcm.mu_law_expand)


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_pcm_codes_round_trip(bits):
    codes = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1), 1 if bits < 24 else 1009)
    x = np.asarray(pcm_to_float(codes, bits))
    np.testing.assert_array_equal(x, codes / 2.0 ** (bits - 1))
    np.testing.assert_array_equal(float_to_pcm(x, bits), codes)


def test_pcm_rounds_to_the_nearest_code_and_clips():
    x = np.array([-np.inf, -1e30, -1.1, -0.4 / 128, 0.6 / 128, 0.999, 1.0, 7.0, np.inf])
    np.testing.assert_array_equal(float_to_pcm(x, 8), [-128, -128, -128, 0, 1, 127, 127, 127, 127])


@pytest.mark.parametrize("bits", [16, 24])
def test_dither_makes_the_error_independent_of_the_signal(bits):
    """Mean 0 and variance 1/4 of a squared step wherever between two steps the signal lies, loud or quiet."""
    step = 2.0 ** (1 - bits)
    offsets = np.array([0.0, 0.25, 0.5, 0.75]) if bits == 16 else np.zeros(4)  # 24 bits fill a float32 up
    num_codes = np.array([0.0, 1000.0, -30000.0, 2.0 ** (bits - 2)]) + offsets
    x = np.broadcast_to(np.float32(num_codes * step), (20_000, 4))
    error = np.asarray(float_to_pcm(x, bits, dither=jax.random.key(0))) - num_codes
    np.testing.assert_allclose(error.mean(axis=0), 0.0, atol=0.015)
    np.testing.assert_allclose((error**2).mean(axis=0), 0.25, atol=0.01)
    plain = np.asarray(float_to_pcm(x, bits)) - num_codes
    np.testing.assert_allclose(plain.std(axis=0), 0.0, atol=1e-6)  # without dither the error follows the signal


def test_mu_law_matches_its_formula():
    x = np.linspace(-1, 1, 101)
    law = np.sign(x) * np.log(1 + 255 * np.abs(x)) / np.log(256)
    np.testing.assert_allclose(mu_law_compress(x), law, atol=1e-6)
    np.testing.assert_allclose(mu_law_expand(law), x, atol=1e-6)
    slopes = jax.jit(lambda x: [jax.vmap(jax.grad(f))(x) for f in (mu_law_compress, mu_law_expand)])
    compress, expand = slopes(np.float32([-0.5, 0.0, 0.5]))
    np.testing.assert_allclose(compress, 255 / np.log(256) / (1 + 255 * np.array([0.5, 0.0, 0.5])), rtol=1e-5)
    np.testing.assert_allclose(expand[1], np.log(256) / 255, rtol=1e-5)


@pytest.mark.parametrize("num_codes", [2, 256, 1024])
def test_mu_law_codes_round_trip_and_are_monotonic(num_codes):
    codes = np.arange(num_codes)
    samples = np.asarray(mu_law_decode(codes, num_codes))
    assert np.all(np.diff(samples) > 0)
    np.testing.assert_array_equal(mu_law_encode(samples, num_codes), codes)
    x = np.linspace(-1.2, 1.2, 5000)
    law = np.sign(x) * np.log1p((num_codes - 1) * np.minimum(np.abs(x), 1)) / np.log(num_codes)
    between = np.abs((law + 1) * (num_codes - 1) / 2 % 1 - 0.5) > 1e-3  # else rounded up or down
    expected = np.round((law + 1) * (num_codes - 1) / 2)
    np.testing.assert_array_equal(np.asarray(mu_law_encode(x, num_codes))[between], expected[between])
