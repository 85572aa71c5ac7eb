"""Values out of range: concrete they raise, traced they give NaN and never an ordinary number."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import audio, data, denoisers, densities, likelihood, metrics, random_fields, schedules, spectra
from scorekit import typicality as ty

KEY = jax.random.key(0)
RING, FIELD = densities.ring(3), random_fields.random_field(np.ones(4, np.float32))
BANK, POWER = np.ones((5, 3), np.float32), np.ones(2, np.float32)
IN, OUT = np.arange(5, dtype=np.float32), np.arange(5, dtype=np.float32) + 2
X = np.array([[0.0, 1.0], [2.0, 0.5]], np.float32)
SCHEDULE = schedules.cosine()
DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(1, np.float32), std=1.0), SCHEDULE)

BOTH = {
    "component": (lambda k: RING.component(k).mean, 99, "k must hold classes from 0 to 2, got 99"),
    "component below 0": (lambda k: RING.component(k).mean, -1, "k must hold classes from 0 to 2, got -1"),
    "coin_table": (lambda p: ty.coin_table(p, 3).log_mass, 1.5, "p must be in (0, 1)"),
    "log_sphere_area": (ty.log_sphere_area, -1.0, "dim must be finite and > 0"),
    "shell_mass of dim": (lambda d: ty.shell_mass(d, 0.0, 1.0), 0.5, "dim must be finite and >= 1"),
    "shell_mass of low": (lambda low: ty.shell_mass(3, low, 1.0), 2.0, "high must be >= low = 2.0, got 1.0"),
    "typical_mass": (lambda e: ty.typical_mass(3, e), -1.0, "epsilon must be finite and > 0"),
    "mirage_typical_radius": (ty.mirage_typical_radius, 0.5, "dim must be finite and >= 1"),
    "wiener_gain": (lambda p: spectra.wiener_gain(p * POWER, 0.0), -1.0, "power must be finite and >= 0"),
    "wiener_gain of NaN": (lambda p: spectra.wiener_gain(p * POWER, 0.0), np.nan, "power must be finite and >= 0"),
    "wiener_error": (lambda p: spectra.wiener_error(p * POWER, 0.0), -1.0, "power must be finite and >= 0"),
    "magnitude_from_mel": (
        lambda m: audio.magnitude_from_mel(m * np.ones(3, np.float32), BANK),
        -1.0,
        "mel must be finite and >= 0",
    ),
    "mu_law_decode": (lambda c: audio.mu_law_decode(c), 300, "codes must hold classes from 0 to 255, got 300"),
    "pcm_to_float": (lambda c: audio.pcm_to_float(c, 8), 128, "codes must be integers of 8 bits, got 128"),
    "to_unit": (lambda x: data.to_unit(x, 17), 17, "x must hold classes from 0 to 16, got 17"),
    "dequantise": (lambda x: data.dequantise(KEY, x, 17), -1, "x must hold classes from 0 to 16, got -1"),
    "fpr_at_tpr": (lambda p: metrics.fpr_at_tpr(IN, OUT, p), 2.0, "tpr must be in (0, 1], got 2.0"),
    "vendi_score": (lambda h: metrics.vendi_score(X, h), -1.0, "bandwidth must be finite and > 0"),
    "bits_per_dim": (
        lambda x: likelihood.dequantised_bits_per_dim(
            KEY, lambda key, z: jnp.sum(z, -1), x * np.ones((1, 1), int), 4
        ).bits_per_dim,
        4,
        "x must hold classes from 0 to 3, got [[4]]",
    ),
    "variational_bound": (
        lambda x: likelihood.variational_bound(
            KEY, DENOISER, SCHEDULE, x * np.ones((1, 1), np.float32), num_times=1, bins=3
        ).total,
        -2.0,
        "x0 must be of the values linspace(-1, 1, bins=3), got [[-2.]]",
    ),
}


@pytest.mark.parametrize("case", BOTH)
def test_values_out_of_range_raise_and_traced_give_nan(case):
    function, value, message = BOTH[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        function(value)
    assert np.isnan(jax.jit(function)(value)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RING.sample(KEY, (-1,)), "shape must be a tuple of integers >= 0, got (-1,)"),
        (lambda: RING.components.sample(KEY, 3), "shape must be a tuple of integers >= 0, got 3"),
        (lambda: FIELD.sample(KEY, (2.5,)), "shape must be a tuple of integers >= 0, got (2.5,)"),
        (lambda: densities.gaussian_mirage(4).sample(KEY, (-1,)), "shape must be a tuple"),
        (lambda: RING.log_density(X[:, :1]), "x must have shape (..., 2), got (2, 1)"),
        (lambda: FIELD.log_density(np.ones((2, 4, 2))), "x must have shape (..., 4, 1), got (2, 4, 2)"),
        (lambda: ty.coin_table(0.5, 2.5), "n must be an integer >= 1, got 2.5"),  # type: ignore[arg-type]
        (lambda: audio.float_to_pcm([0.0, np.nan]), "x must not be NaN, but 1 of 2 values are"),
        (lambda: audio.mu_law_encode([np.nan]), "x must not be NaN"),
        (lambda: data.from_unit(np.nan, 17), "x must not be NaN, but 1 of 1 values are"),
        (lambda: ty.complexity_corrected(np.zeros((2, 1)), np.zeros((2, 4, 4, 1), np.uint8)), "log_probability must"),
        (lambda: likelihood.bits_per_dim(0.0, 2, bins=2.5, dequantisation="uniform"), "bins must be an integer >= 2"),
    ],
)
def test_shapes_counts_and_values_without_an_answer_raise(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_integer_images_are_compared_as_floats():
    x = np.array([[10, 20]], np.uint8)
    assert float(metrics.psnr(x, x + np.uint8(1), 255.0)) == pytest.approx(20 * np.log10(255.0), abs=1e-4)


def test_integer_log_probabilities_keep_the_offset():
    found = likelihood.bits_per_dim(np.array([0]), 2, bins=3, dequantisation="uniform")
    np.testing.assert_allclose(found.bits_per_dim, np.log2(1.5), rtol=1e-6)


def test_integer_sounds_are_resampled_as_floats():
    np.testing.assert_allclose(audio.high_rate(np.array([0, 1, 0, 0]), 2)[2], 0.75, atol=1e-6)


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("soundfile", lambda: audio.read("a.wav")),
        ("soundfile", lambda: audio.write("a.wav", np.zeros(8), 8000)),
        ("soxr", lambda: audio.resample(np.zeros(8), 8000, 4000)),
    ],
)
def test_sound_files_without_their_extra_name_it(monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}: pip install 'scorekit\[audio\]'"):
        call()


def test_nan_is_not_silence():
    silent = np.zeros(64, np.float32)
    assert np.isnan(audio.chroma(silent * np.nan, 1000.0)).any()
    np.testing.assert_array_equal(audio.chroma(silent, 1000.0), 0.0)
    assert np.isnan(audio.log_spectral_distance(silent * np.nan, silent, 1000.0))
