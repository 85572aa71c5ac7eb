"""Long-range statistics against numpy, and of onsets and chroma."""

import jax
import numpy as np
import pytest

from scorekit.audio import chroma, hann, onset_envelope, structure

RATE = 4000
RNG = np.random.default_rng(0)


def test_autocorrelation_matches_numpy():
    x = RNG.normal(size=(2, 50)).astype(np.float32)
    found = structure.autocorrelation(x, (0, 1, 7))
    for i in range(2):
        expected = [np.corrcoef(x[i, : 50 - n], x[i, n:])[0, 1] for n in (0, 1, 7)]
        np.testing.assert_allclose(found[i], expected, atol=1e-5)
    np.testing.assert_array_equal(structure.autocorrelation(np.ones(9), (1, 2)), 0)
    gradient = jax.jit(jax.grad(lambda x: structure.autocorrelation(x, (1, 2)).sum()))(np.ones(9, np.float32))
    assert np.all(np.isfinite(gradient))


def test_self_similarity_matches_numpy():
    x = RNG.normal(size=(2, 9, 3)).astype(np.float32)
    expected = [(x[:, : 9 - n] * x[:, n:]).sum(-1).mean(-1) for n in (0, 2, 8)]
    np.testing.assert_allclose(structure.self_similarity(x, (0, 2, 8)), np.stack(expected, -1), rtol=1e-5, atol=1e-6)


def test_statistics_of_sounds_are_those_of_their_onsets_and_chroma():
    """Onsets at multiples of 0.128 s, smoothed over 112 ms; chroma at multiples of 0.256 s."""
    x = RNG.normal(size=16384) * np.exp(np.sin(np.arange(16384) / 300))
    onsets = np.convolve(onset_envelope(x, RATE), hann(8)[1:], "valid")
    expected = structure.autocorrelation(onsets, tuple(range(8, 136, 8)))
    np.testing.assert_allclose(structure.rhythm_statistics(x, RATE), expected, atol=1e-4)
    expected = structure.self_similarity(chroma(x, RATE), tuple(range(4, 52, 4)))
    np.testing.assert_allclose(structure.harmony_statistics(x, RATE), expected, rtol=1e-5)


@pytest.mark.slow
def test_silence_has_finite_statistics_and_gradients():
    total = lambda x: structure.harmony_statistics(x, RATE).sum() + structure.rhythm_statistics(x, RATE).sum()
    value, gradient = jax.jit(jax.value_and_grad(total))(np.zeros(16384, np.float32))
    assert value == 0
    assert np.all(np.isfinite(gradient))
