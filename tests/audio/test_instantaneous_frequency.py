"""Instantaneous frequency against numpy's unwrapping and round trips."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.audio import decode_spectrum, encode_spectrum, from_polar, hann, phase, stft
from scorekit.audio.frequency import _phase_from_frequency

WINDOW, HOP = hann(256), 64


def test_instantaneous_frequency_matches_numpy_unwrap():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (2, 50, 3))
    unwrapped = np.unwrap(angles, axis=1)
    channels = encode_spectrum(from_polar(np.ones_like(angles), angles))
    ours = np.asarray(channels[..., 1])
    np.testing.assert_allclose(ours[:, 1:], np.diff(unwrapped, axis=1) / np.pi, atol=1e-6)
    np.testing.assert_allclose(ours[:, 0], angles[:, 0] / np.pi, atol=1e-6)
    np.testing.assert_allclose(jax.jit(decode_spectrum)(channels), np.exp(1j * angles), atol=5e-6)


def test_rounding_does_not_grow_with_the_phase():
    """0.37 half turns a frame for 20,000 frames, where a plain float32 sum is off by much more than a radian / 100."""
    f = np.full((20000, 1), 0.37, np.float32)
    exact = np.pi * np.float64(f[0, 0]) * np.arange(1, 20001)
    off = lambda angle: np.abs(np.angle(np.exp(1j * (np.asarray(angle, np.float64) - exact)))).max()
    assert off(jax.jit(_phase_from_frequency)(f)[:, 0]) < 0.01
    assert off(np.pi * np.cumsum(f[:, 0])) > 0.1


def test_encode_spectrum_adds_the_floor():
    channels = encode_spectrum(np.array([[0.0, 1e-3j, 2.0]], np.complex64), floor=1e-3)
    np.testing.assert_allclose(channels[0, :, 0], np.log([1e-3, 2e-3, 2.001]), rtol=1e-6)
    np.testing.assert_allclose(decode_spectrum(channels, floor=1e-3), [[0.0, 1e-3j, 2.0]], atol=1e-6)


def test_gradients_are_finite():
    def loss(x):
        spectrum = stft(x, WINDOW, HOP)
        return jnp.sum(decode_spectrum(encode_spectrum(spectrum)).real) + jnp.sum(phase(spectrum))

    slope = jax.jit(jax.grad(loss))
    assert np.all(np.isfinite(slope(jnp.zeros(500))))
    assert np.any(slope(jax.random.normal(jax.random.key(0), (500,))))
