"""``experiments.audio.vocode``: what its table measures, and what it refuses."""

import numpy as np
import pytest
from programs import give

from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.data.dataset import evenly
from scorekit import audio

RATE = 4000


@pytest.fixture
def program(load_program):
    found = load_program("experiments.audio.vocode")
    give(workdir="nowhere")
    return found


def test_the_table_compares_with_the_truth_and_with_full_sampling(program):
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


def test_griffin_lim_starts_from_the_mel_alone(program):
    from experiments import mels

    x = np.sin(2 * np.pi * 440 / RATE * np.arange(2048))[None] * 0.5
    spectrogram = mels.log_mel(RATE)
    found = np.asarray(program._griffin_lim(program.jax.random.key(0), spectrogram, spectrogram.told(x), 2048))
    assert found.shape == (1, 2048)
    loss = np.asarray(audio.multi_resolution_stft_loss(found, x, RATE))
    assert loss < np.asarray(
        audio.multi_resolution_stft_loss(0.5 * np.random.default_rng(0).normal(size=x.shape), x, RATE)
    )
    assert np.argmax(np.abs(np.fft.rfft(found[0]))) == pytest.approx(440 * 2048 / RATE, abs=8)


def test_places_evenly():
    assert evenly(9, 3).tolist() == [0, 4, 8]
    assert evenly(2, 5).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": "6,x"}, "--steps=6,x: must be numbers of steps, as in 6,100"),
        ({"steps": "0"}, "--steps=0: must be numbers"),
        ({}, r"must hold a vocoder \(config.data.map.name=mel_magnitudes\)"),
    ],
)
def test_what_is_no_vocoder_is_refused(program, given, message):
    give(**given)
    with pytest.raises(ConfigError, match=message):
        program.main(base.get_config())
