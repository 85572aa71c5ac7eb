"""``experiments.projects.audio.sound.timbre``: the round trip, another instrument, and what the table counts."""

import numpy as np
import pytest
from jax.tree_util import Partial
from parameters import random_params
from sound_sets import RATE, note_set

from experiments import data as data_sets
from experiments.configs.notes import notes_controls, notes_smoke
from experiments.data.builders import sets
from experiments.projects.audio.note_evaluators import NoteEvaluators
from experiments.projects.audio.sound import transfer
from experiments.projects.audio.translation import timbre
from experiments.tasks.diffusion.guidance import NO_EXTRAS
from experiments.tasks.diffusion.model import Model, build_model
from experiments.tasks.task import Run
from scorekit import audio
from scorekit.typing import Prediction


@pytest.fixture
def program(load_program, monkeypatch):
    pitch, instrument = np.array([60, 64, 67, 72]), np.array([0, 1, 0, 1])
    f = 440 * 2 ** ((pitch[:, None] - 69) / 12)
    found = note_set(0.2 * np.sin(2 * np.pi * f * np.arange(2048) / RATE), pitch, instrument, instrument, "ab")
    monkeypatch.setattr(sets, "load_notes", lambda *_: found)
    return load_program("experiments.projects.audio.sound.timbre")


@pytest.mark.slow
def test_transfer_returns_to_the_note_and_another_instrument_changes_it(program):
    config = notes_smoke.get_config()
    config.data.train_split, config.data.test_split = "train", "test"
    config.sampling.steps = 20
    dataset = data_sets.build(config)
    model = build_model(config, dataset)
    run = Run(dataset, model, None, random_params(model, 0.15), 0, NO_EXTRAS)
    batch = run.dataset.test
    sounds = transfer.transfer(config, run, batch, 1 - batch["label"])
    assert list(sounds) == ["held out", "round trip", "transferred", "new sample"]
    np.testing.assert_array_equal(sounds["held out"], run.dataset.real(batch))
    rms = lambda x: float(np.sqrt(np.mean(x**2)))
    lost, changed = (rms(sounds[name] - sounds["held out"]) for name in ("round trip", "transferred"))
    assert lost < 0.02 * rms(sounds["held out"])
    assert changed > 5 * lost
    same = transfer.transfer(config, run, batch, batch["label"])
    np.testing.assert_allclose(same["transferred"], same["round trip"], atol=1e-5)


@pytest.mark.slow
def test_controls_are_transferred_by_their_pitch_and_loudness_too(program, monkeypatch):
    """By a prior N(0, 1) in place of a network: nothing but the observation makes a sample like the note."""
    config = notes_controls.get_config()
    config.network.update(channels=8, multipliers=(1,), factors=(), heads=1)
    config.data.representation.update(bands=5, partials=4)
    config.sampling.steps = 20
    dataset = data_sets.build(config)
    model = build_model(config, dataset)
    exact = Partial(lambda schedule, x, t: Prediction(schedule.alpha(t) * x, schedule.sigma(t) * x), model.schedule)
    monkeypatch.setattr(Model, "denoiser", lambda *_: exact)
    run = Run(dataset, model, None, random_params(model, 0.05), 0, NO_EXTRAS)
    batch = {**dataset.test, "x": np.round(dataset.test["x"] * np.exp(-np.arange(2048) / 800)).astype(np.int16)}
    sounds = transfer.transfer(config, run, batch, 1 - batch["label"])
    assert list(sounds) == ["held out", "round trip", "transferred", "new sample", transfer.OBSERVED]
    same = {name: timbre.loudness_correlation(x, sounds["held out"], RATE) for name, x in sounds.items()}
    assert same[transfer.OBSERVED] > 0.9
    assert same["new sample"] < 0.6
    again = {"x": audio.float_to_pcm(sounds[transfer.OBSERVED]), "pitch": batch["pitch"]}
    deviations = [np.asarray(dataset.inputs(x))[:, 2:-2, 1] for x in (again, batch)]  # in tenths of a semitone
    assert np.median(np.abs(deviations[0] - deviations[1])) < 0.5


def test_loudness_correlation_compares_envelopes(program):
    n = np.arange(2048)
    rising, falling = (np.sin(0.5 * n) * np.exp(s * n / 500) for s in (0.5, -0.5))
    other = np.cos(0.3 * n) * np.exp(-n / 1000)
    assert timbre.loudness_correlation(other[None], falling[None], RATE) > 0.99
    assert timbre.loudness_correlation(rising[None], falling[None], RATE) < -0.99
    assert timbre.loudness_correlation(np.zeros((1, 2048)), falling[None], RATE) is None


class Predicts:
    """A classifier with given predictions."""

    def __init__(self, *families):
        self.families = iter(families)

    def predict(self, features):
        return np.array(next(self.families))


@pytest.mark.slow
def test_compare_counts_pitches_and_families(program):
    pitch, label = np.array([60, 64, 67]), np.array([0, 8, 16])
    tone = lambda pitch: 0.2 * np.sin(2 * np.pi * 440 * 2 ** ((pitch[:, None] - 69) / 12) * np.arange(4096) / RATE)
    sounds = {"held out": tone(pitch), "transferred": 0.5 * tone(pitch + np.array([0, 1, 0]))}
    evaluators = NoteEvaluators(RATE, np.array([0, 8, 24, 32]), Predicts([0, 1, 2], [3, 1, 5]))
    rows, _ = timbre.compare(evaluators, sounds, {"label": label, "pitch": pitch}, label + 24, RATE)
    first, second = (list(rows[name].values()) for name in ("held out", "transferred"))
    assert first[:4] == [1.0, 1.0, 0.0, None]
    assert second[0] == 0.5  # of the two whose instruments are clear, one is a semitone off
    assert second[1:3] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert second[3] > 1
