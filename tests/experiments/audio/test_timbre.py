"""``experiments.audio.timbre``: there and back is the note, another instrument is another sound; what the table counts."""

import jax
import numpy as np
import pytest
from experiments.evaluation.note_evaluators import Judges
from programs import give, save_untrained

from experiments.cli.config import ConfigError
from experiments.configs.images import smoke
from experiments.configs.notes import notes_smoke
from experiments.models.runs import open_experiment
from scorekit import data
from scorekit.data.sounds import NoteSet

RATE = 4000


@pytest.fixture
def program(load_program, monkeypatch):
    def load(name, *_):
        pitch, instrument = np.array([60, 64, 67, 72], np.int32), np.array([0, 1, 0, 1], np.int32)
        f = 440 * 2 ** ((pitch[:, None] - 69) / 12)
        x = 0.2 * np.sin(2 * np.pi * f * np.arange(2048) / RATE)
        return NoteSet(x=np.round(32767 * x).astype(np.int16), pitch=pitch, velocity=np.full_like(pitch, 90),
                       instrument=instrument, family=instrument, instruments=("a", "b"), families=("e", "f"),
                       sample_rate=RATE, name=name)  # fmt: skip

    monkeypatch.setattr(data, "load_notes", load)
    return load_program("experiments.audio.timbre")


@pytest.mark.slow
def test_there_and_back_is_the_note_and_another_instrument_is_not(program, tmp_path):
    config = notes_smoke.get_config()
    config.data.train_split, config.data.test_split = "train", "test"
    config.sampling.ema, config.sampling.steps = "none", 20
    run = open_experiment(config, save_untrained(tmp_path, config), None, [1.0])
    leaves, tree = jax.tree.flatten(run.params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    stirred = [leaf + 0.05 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    run = run._replace(params=jax.tree.unflatten(tree, stirred))  # so that it hears who plays
    batch = run.dataset.test
    sounds = program.transfer(config, run, batch, 1 - batch["label"])
    assert list(sounds) == ["held out", "back", "transferred", "drawn anew"]
    np.testing.assert_array_equal(sounds["held out"], run.dataset.real(batch))
    rms = lambda x: float(np.sqrt(np.mean(x**2)))
    lost, changed = (rms(sounds[name] - sounds["held out"]) for name in ("back", "transferred"))
    assert lost < 0.02 * rms(sounds["held out"])
    assert changed > 5 * lost
    same = program.transfer(config, run, batch, batch["label"])
    np.testing.assert_allclose(same["transferred"], same["back"], atol=1e-5)


class Hears:
    """A judge who hears the families that it was told."""

    def __init__(self, *families):
        self.families = iter(families)

    def predict(self, features):
        return np.array(next(self.families))


def test_the_table_counts_pitches_and_families(program):
    pitch, label = np.array([60, 64, 67]), np.array([0, 8, 16])
    tone = lambda pitch: 0.2 * np.sin(2 * np.pi * 440 * 2 ** ((pitch[:, None] - 69) / 12) * np.arange(4096) / RATE)
    sounds = {"held out": tone(pitch), "transferred": 0.5 * tone(pitch + np.array([0, 1, 0]))}
    judges = Judges(RATE, np.array([0, 8, 24, 32]), Hears([0, 1, 2], [3, 1, 5]))
    table = program.compare(judges, sounds, {"label": label, "pitch": pitch}, label + 24, RATE)
    first, second = table.rows
    assert first[:4] == ["held out", 1.0, 1.0, 0.0]
    assert first[4] is None
    assert second[1] == 0.5  # of the two whose instruments are clear, one is a semitone off
    assert second[2:4] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert second[4] > 1


def test_models_of_other_things_are_refused(program, tmp_path):
    give(workdir=tmp_path)
    with pytest.raises(ConfigError, match="must hold a model of notes that is told their instrument"):
        program.main(smoke.get_config())
