"""Griffin and Lim's algorithm, plain and accelerated, against a reference loop."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.audio import griffin_lim, hann, istft, magnitude, stft

WINDOW, HOP, LENGTH = hann(128), 32, 2000


def tones():
    n = jnp.arange(LENGTH)
    steady = jnp.sin(2 * jnp.pi * 0.05 * n) + 0.5 * jnp.sin(2 * jnp.pi * 0.083 * n)
    return jnp.stack([steady, jnp.exp(-n / 600) * jnp.sin(4e-5 * n**2), 0.0 * n])


MAGNITUDES = magnitude(stft(tones(), WINDOW, HOP))


@jax.jit
@chex.assert_max_traces(n=1)  # another momentum or key compiles nothing
def run(key, magnitudes, momentum):
    return griffin_lim(key, magnitudes, WINDOW, HOP, LENGTH, iterations=40, momentum=momentum)


@pytest.fixture(scope="module")
def results():
    return {momentum: run(jax.random.key(0), MAGNITUDES, momentum) for momentum in (0.0, 0.99)}


def test_convergence_is_the_misfit_of_the_returned_signal(results):
    weights = np.where(np.isin(np.arange(65), [0, 64]), 1.0, 2.0)
    norm = lambda s: np.sqrt(np.sum(weights * s**2, axis=(1, 2)))
    wanted = np.asarray(MAGNITUDES)[:2]
    for found in results.values():
        spectrum = np.abs(np.asarray(stft(found.x, WINDOW, HOP)))[:2]
        np.testing.assert_allclose(found.convergence[-1][:2], norm(spectrum - wanted) / norm(wanted), rtol=1e-3)


@pytest.mark.slow
def test_griffin_lim_matches_a_reference_loop():
    """Algorithm 2 of Perraudin et al. written out, from the start that the key draws."""
    wanted = np.asarray(MAGNITUDES)
    back = lambda spectrum: np.asarray(istft(spectrum, WINDOW, HOP, LENGTH))
    project = lambda t: np.asarray(stft(back(wanted * np.exp(1j * np.angle(t))), WINDOW, HOP))
    key, momentum = jax.random.key(5), 0.6
    ahead = previous = np.asarray(stft(griffin_lim(key, wanted, WINDOW, HOP, LENGTH, iterations=0).x, WINDOW, HOP))
    for _ in range(2):
        found = project(ahead)
        ahead, previous = found + momentum * (found - previous), found
    expected = back(wanted * np.exp(1j * np.angle(ahead)))
    ours = griffin_lim(key, wanted, WINDOW, HOP, LENGTH, iterations=3, momentum=momentum).x
    np.testing.assert_allclose(ours[:2], expected[:2], atol=2e-3)


def test_griffin_lim_of_silence(results):
    assert not np.any(results[0.99].x[2])
    assert not np.any(results[0.99].convergence[:, 2])


def test_initial_phases_depend_on_the_key(results):
    again, other = (run(jax.random.key(i), MAGNITUDES, 0.99) for i in (0, 1))
    np.testing.assert_array_equal(again.x, results[0.99].x)
    assert np.abs(other.x - again.x)[:2].max() > 0.1
