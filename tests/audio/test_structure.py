"""Long-range statistics against numpy, on clicks with a known period and on recurring chords."""

import jax
import numpy as np
import pytest

from scorekit.audio import chroma, structure

RATE = 4000
RNG = np.random.default_rng(0)
autocorrelation, self_similarity, rhythm_statistics, harmony_statistics = (
    jax.jit(function, static_argnums=1)
    for function in (
        structure.autocorrelation,
        structure.self_similarity,
        structure.rhythm_statistics,
        structure.harmony_statistics,
    )
)


def sine(hertz, seconds):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def test_autocorrelation_matches_numpy():
    x = RNG.normal(size=(2, 50)).astype(np.float32)
    found = autocorrelation(x, (0, 1, 7))
    for i in range(2):
        expected = [np.corrcoef(x[i, : 50 - n], x[i, n:])[0, 1] for n in (0, 1, 7)]
        np.testing.assert_allclose(found[i], expected, atol=1e-5)
    np.testing.assert_array_equal(structure.autocorrelation(np.ones(9), (1, 2)), 0)
    gradient = jax.jit(jax.grad(lambda x: structure.autocorrelation(x, (1, 2)).sum()))(np.ones(9, np.float32))
    assert np.all(np.isfinite(gradient))


def test_self_similarity_matches_numpy():
    x = RNG.normal(size=(2, 9, 3)).astype(np.float32)
    expected = [(x[:, : 9 - n] * x[:, n:]).sum(-1).mean(-1) for n in (0, 2, 8)]
    np.testing.assert_allclose(self_similarity(x, (0, 2, 8)), np.stack(expected, -1), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_rhythm_statistics_peak_at_the_period_of_a_beat():
    """0.512 s is a multiple of the 0.128 s between lags: the fourth lag and its multiples."""
    x = np.zeros(16384)
    x[100::2048] = 0.9
    found = np.asarray(rhythm_statistics(x, RATE))
    beats = np.isin(np.arange(16), [3, 7, 11, 15])
    assert found[beats].min() > 0.9
    assert found[~beats].max() < 0.2


@pytest.mark.slow
def test_harmony_statistics_peak_where_chords_recur():
    """Two notes in turn, 0.512 s each: alike after 1.024 s, unlike after 0.512 s."""
    x = np.concatenate([sine(261.63, 0.512), sine(370.0, 0.512)] * 4)
    found = np.asarray(harmony_statistics(x, RATE))
    assert found[3] > 0.9  # 1.024 s
    assert found[1] < 0.4  # 0.512 s
    assert np.asarray(harmony_statistics(sine(261.63, 4.096), RATE)).min() > 0.99
    steps = tuple(round(lag / 0.064) for lag in structure.CHROMA_LAGS)
    np.testing.assert_allclose(found, self_similarity(jax.jit(chroma, static_argnums=1)(x, RATE), steps), rtol=1e-5)


@pytest.mark.slow
def test_silence_has_finite_statistics_and_gradients():
    total = lambda x: structure.harmony_statistics(x, RATE).sum() + structure.rhythm_statistics(x, RATE).sum()
    value, gradient = jax.jit(jax.value_and_grad(total))(np.zeros(16384, np.float32))
    assert value == 0
    assert np.all(np.isfinite(gradient))
