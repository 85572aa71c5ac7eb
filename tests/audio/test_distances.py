"""Distances between signals against closed forms and naive sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.audio import distances, hann, log_spectral_distance, multi_resolution_stft_loss, spectral_convergence

NOISE = 0.1 * jax.random.normal(jax.random.key(0), (2, 3000))
lsd = jax.jit(log_spectral_distance, static_argnums=2)
loss_and_slope = jax.jit(
    jax.value_and_grad(lambda x, y, rate: jnp.sum(multi_resolution_stft_loss(x, y, rate))), static_argnums=2
)


def test_distances_are_zero_for_equal_signals():
    assert np.all(lsd(NOISE, NOISE, 8000) == 0)
    value, slope = loss_and_slope(NOISE, NOISE, 8000)
    assert value == 0
    assert np.all(np.isfinite(slope))


def test_signals_below_the_floor_have_distance_zero():
    quiet = 1e-8 * NOISE
    assert np.all(lsd(quiet, 0.0 * NOISE, 8000) == 0)
    np.testing.assert_array_less(0.0, lsd(1e-2 * NOISE, 0.0 * NOISE, 8000))


def naive_magnitudes(x, window, hop):
    size = len(window)
    frames = 1 + -(-len(x) // hop)
    padded = np.concatenate([np.zeros(size // 2), x, np.zeros(size + hop)])
    return np.abs(np.fft.rfft([padded[m * hop : m * hop + size] * window for m in range(frames)]))


@pytest.mark.slow
def test_distances_match_naive_sums():
    x, y = np.asarray(NOISE, np.float64)
    floor = lambda window: window.sum() / 2 * 1e-5
    log = lambda s, window: np.log(np.maximum(s, floor(window)))
    window = hann(512)
    a, b = (log(naive_magnitudes(s, window, 128), window) for s in (x, y))
    naive = np.mean(np.sqrt(np.mean((20 / np.log(10) * (a - b)) ** 2, axis=1)))
    np.testing.assert_allclose(lsd(NOISE[:1], NOISE[1:], 8000), naive, rtol=1e-4)
    total = 0.0
    for length, size in ((80, 128), (200, 512), (400, 1024)):  # 10, 25 and 50 ms at 8 kHz
        window = hann(length, size)
        a, b = (naive_magnitudes(s, window, length // 5) for s in (x, y))
        total += np.linalg.norm(a - b) / np.linalg.norm(b) + np.mean(np.abs(log(a, window) - log(b, window)))
    value, slope = loss_and_slope(NOISE[:1], NOISE[1:], 8000)
    np.testing.assert_allclose(value, total / 3, rtol=1e-4)
    assert np.any(slope)


def test_multi_resolution_windows_match_parallel_wavegan(monkeypatch):
    used = []
    monkeypatch.setattr(distances, "hann", lambda *sizes: used.append(sizes) or hann(*sizes))
    jax.eval_shape(lambda x: multi_resolution_stft_loss(x, x, 24000), jnp.zeros(4000))
    assert used == [(240, 512), (600, 1024), (1200, 2048)]


def test_spectral_convergence_is_per_clip():
    y = jnp.stack([jnp.ones((4, 3)), 2.0 * jnp.ones((4, 3))])
    np.testing.assert_allclose(spectral_convergence(y + 1.0, y), [1.0, 0.5])
