"""Music in voices: exact round trips, keys, and folders of MIDI files."""

import numpy as np
import pytest
import small_configs

from experiments import data
from experiments.cli.config import ConfigError
from experiments.data import rolls
from experiments.data.keys import key_of_notes
from experiments.data.roll_sets import WINDOW
from scorekit import _files as files
from scorekit.data import midi
from scorekit.data.phrases import Note, random_phrase

PHRASES = [rolls.quantise(random_phrase(seed, 8.192)) for seed in range(40)]


def test_phrases_survive_as_voices_and_codes():
    for notes in PHRASES[:8]:
        states, left_out = rolls.to_states(notes, 128)
        assert left_out == 0
        assert rolls.to_played(states) == [note._replace(last=min(note.last, 128)) for note in notes]
        np.testing.assert_array_equal(rolls.from_codes(rolls.to_codes(states)), states)
        assert rolls.quantise(rolls.to_notes(states)) == rolls.to_played(states)


def test_repeated_notes_are_struck_held_ones_begin_a_window_and_more_than_five_are_counted():
    notes = [Note(60, 80, 0.0, 0.256), Note(60, 80, 0.256, 0.512)]
    held = [Note(60, 80, 0.0, 0.512)]
    (twice, _), (once, _) = (rolls.to_states(rolls.quantise(each), 8) for each in (notes, held))
    assert [len(rolls.to_played(each)) for each in (twice, once)] == [2, 1]
    assert np.sum(rolls.to_codes(twice) >= rolls.FIRST) == 2
    codes = rolls.to_codes(once[4:])
    assert codes.max() == rolls.FIRST + 60 - rolls.LOWEST
    np.testing.assert_array_equal(rolls.from_codes(np.minimum(codes, rolls.HOLD), once[3])[1:], once[5:])
    states, left_out = rolls.to_states([rolls.Played(48 + 3 * i, 0, 16) for i in range(7)], 16)
    assert left_out == 2
    assert {note.pitch for note in rolls.to_played(states)} >= {48, 66}


def test_the_key_is_that_of_which_phrases_were_drawn():
    right = 0
    for seed, notes in enumerate(PHRASES):
        rng = np.random.default_rng(seed)
        rng.integers(70, 131)
        drawn = int(rng.integers(12)) + 12 * int(rng.integers(2))
        right += drawn == key_of_notes((note.pitch, note.last - note.first) for note in notes)
    assert right >= 37


def test_midi_files_are_training_data(tmp_path, monkeypatch):
    for seed in range(3):
        midi.write_score(tmp_path / f"{seed}.mid", random_phrase(seed, 9.0), programs=40)
    config = small_configs.rolls()
    config.data.name, config.data.path, config.data.label = "midi", str(tmp_path), "instrument"
    config.data.train_split, config.data.test_split = "train", "test"
    dataset = data.build(config)
    batch = dataset.batch(0, 1, 4)
    assert batch["x"].shape == (4, WINDOW, rolls.VOICES)
    assert set(batch["label"]) == {40}
    assert dataset.test["x"].shape[0] == 2  # windows of one file
    (tmp_path / "3.mid").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=r"^config.data.path=.*3\.mid.*: must be a regular file, it is a device$"):
        data.check_rows(config, data.build(config))
    (tmp_path / "3.mid").unlink()
    monkeypatch.setattr(files, "_FREE", 1000)
    monkeypatch.setattr(files, "_RATIO", 1e-9)
    with pytest.raises(ConfigError, match=r"^config.data.path=.*: the music up to .*\.mid unpacks from .* bytes, the"):
        data.check_rows(config, data.build(config))
    config.data.path = str(tmp_path / "none")
    with pytest.raises(ConfigError, match="must have two MIDI files"):
        data.build(config)
