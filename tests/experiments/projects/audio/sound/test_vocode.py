"""``experiments.projects.audio.sound.vocode``: the metrics of its table, and Griffin and Lim's iteration."""

import jax
import numpy as np
import pytest

from scorekit import audio

RATE = 4000


@pytest.fixture
def program(load_program):
    return load_program("experiments.projects.audio.sound.vocode")


def test_compare_measures_distances_to_the_truth_and_to_full_sampling(program):
    truth = np.random.default_rng(0).normal(size=(3, 4096)).astype(np.float32) * 0.1
    sounds = {"half": 0.5 * truth, "full": 0.25 * truth}
    table = program.compare(sounds, truth, RATE, "full", {"half": 0.5})
    rows = {row[0]: row[1:] for row in table.rows}
    six = 20 * np.log10(2)
    assert rows["half"][0] == pytest.approx(six, abs=0.01)
    assert rows["half"][1] == pytest.approx(0.5 + np.log(2), abs=0.01)
    assert rows["half"][2] == pytest.approx(six, abs=0.01)
    assert rows["half"][3] == pytest.approx(1 + np.log(2), abs=0.01)  # the reference is the quieter one
    assert rows["half"][4] == 0.5
    assert rows["full"][0] == pytest.approx(2 * six, abs=0.01)
    assert rows["full"][2:] == [None, None, None]


@pytest.mark.slow
def test_griffin_lim_inverts_the_mel_spectrogram(program):
    x = np.sin(2 * np.pi * 440 / RATE * np.arange(2048))[None] * 0.5
    features = audio.make_log_mel(RATE)
    found = np.asarray(program.griffin_lim(jax.random.key(0), features, features.encode(x), 2048))
    assert found.shape == (1, 2048)
    loss = np.asarray(audio.multi_resolution_stft_loss(found, x, RATE))
    assert loss < np.asarray(
        audio.multi_resolution_stft_loss(0.5 * np.random.default_rng(0).normal(size=x.shape), x, RATE)
    )
    assert np.argmax(np.abs(np.fft.rfft(found[0]))) == pytest.approx(440 * 2048 / RATE, abs=8)
