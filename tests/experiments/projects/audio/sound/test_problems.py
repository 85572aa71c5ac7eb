"""Inverse problems of sound: what is observed, what is lost, and distances of restored sounds."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.projects.audio.sound.problems import PROBLEMS, distances
from experiments.tasks.diffusion.inverse.tasks import consistency
from scorekit import audio

RATE = 4000
T = np.arange(4096) / RATE
SOUNDS = jnp.asarray(
    np.stack([np.sin(2 * np.pi * 220 * T), 0.5 * np.sin(2 * np.pi * 1500 * T)])[..., None], jnp.float32
)


@pytest.mark.parametrize("name", ["gap", "bandwidth", "declip", "phase"])
def test_true_sounds_explain_their_observation(name):
    task = PROBLEMS[name](SOUNDS, RATE).task
    y = task.operator(SOUNDS)
    assert consistency(task, np.asarray(SOUNDS), y) == pytest.approx(0, abs=1e-6)
    assert consistency(task, 0.2 * np.asarray(SOUNDS), y) > 0.01
    assert task.picture(np.asarray(y)).shape == SOUNDS.shape


def test_each_problem_loses_its_part_of_the_sound():
    tasks = {name: problem(SOUNDS, RATE).task for name, problem in PROBLEMS.items()}
    before = {name: np.asarray(t.picture(np.asarray(t.operator(SOUNDS))))[..., 0] for name, t in tasks.items()}
    x = np.asarray(SOUNDS)[..., 0]
    lost = np.flatnonzero(before["gap"][0] != x[0])
    assert lost.min() >= 1920
    assert lost.max() < 2176
    assert len(lost) > 200
    assert PROBLEMS["gap"](SOUNDS, RATE).part == slice(1664, 2432)
    centre = slice(100, -100)
    assert np.abs(before["bandwidth"][0] - x[0])[centre].max() < 0.02  # 220 Hz is below 500 Hz
    assert np.abs(before["bandwidth"][1])[centre].max() < 0.01
    np.testing.assert_allclose(np.abs(before["declip"]).max(1), [0.3, 0.15], rtol=1e-3)
    window = audio.hann(128)
    sizes = [audio.magnitude(audio.stft(s, window, 32)) for s in (before["phase"], x)]
    assert float(audio.spectral_convergence(*sizes).max()) < 0.1


@pytest.mark.slow
def test_distances_are_in_decibels_of_the_sound_and_leave_silence_out():
    x = np.asarray(SOUNDS)[..., 0]
    silent = np.concatenate([x, np.zeros_like(x[:1])])
    *_, error = distances(0.9 * silent, silent, slice(None), RATE)
    assert error == pytest.approx(-20, abs=0.01)
