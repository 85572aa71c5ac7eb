"""Sounds longer than the model's: windows of the map, overlapping windows, the table, and MIDI files."""

import numpy as np
import pytest
from parameters import random_params
from sound_sets import RATE, phrase_set

from experiments import data as data_sets
from experiments.cli.config import ConfigError
from experiments.data.builders import sets
from experiments.projects.audio.configs import phrases
from experiments.projects.audio.sound import long_sounds, perform
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.guidance import NO_EXTRAS
from experiments.tasks.task import Run
from scorekit.data import midi
from scorekit.data.phrases import Note, piano_roll, random_phrase


def test_cut_map_cuts_samples_and_centred_frames():
    samples = np.arange(24.0).reshape(1, 12, 2)
    np.testing.assert_array_equal(long_sounds.cut_map(samples, 12, 4, 2)[3], samples[0, 6:10])
    frames = np.arange(7.0).reshape(1, 7, 1)  # centred on every second of 12 samples, and the end
    found = long_sounds.cut_map(frames, 12, 4, 2)[..., 0]
    np.testing.assert_array_equal(found, [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]])


@pytest.mark.slow
def test_compare_finds_the_right_phrase_and_a_broken_seam():
    n = np.arange(2048)
    tone = lambda p: np.exp(-n / 700) * np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * n / RATE)
    pitches = np.random.default_rng(0).permutation(np.arange(48, 72))[:8].reshape(2, 4)
    real = np.stack([np.concatenate([tone(p) for p in row]) for row in pitches])
    broken = real + 0.3 * (np.arange(real.shape[1]) >= 5000)
    table = perform.compare({"rendered": real, "same": real, "broken": broken}, RATE, 5000)
    _, same, broken = table.records()
    assert [same["chroma"], same["onsets"]] == pytest.approx([1, 1], abs=1e-3)
    assert same["chroma, another roll"] < 0.5
    assert broken["roughness at seams"] > 3 * same["roughness at seams"]


def test_read_notes_says_what_it_leaves_out_and_moves(tmp_path, capsys):
    path, keys = tmp_path / "song.mid", long_sounds.keys_of(phrases.get_config())
    notes = [Note(64, 80, 0.0, 0.25), Note(90, 80, 0.0, 0.25), Note(60, 80, 0.5, 0.75)]
    midi.write_score(path, notes)
    moved = [notes[0], Note(78, 80, 0.0, 0.25), notes[2]]
    assert perform.read_notes(keys, str(path)) == moved
    assert "1 note of pitch 90 moved to 78" in capsys.readouterr().out
    assert perform.read_notes((36, 100), str(path)) == notes
    midi.write_score(path, [], seconds=1.0)
    with pytest.raises(ConfigError, match=r"song\.mid: must have notes, got none"):
        perform.read_notes(keys, str(path))


def test_what_is_performed_is_written_as_midi(tmp_path):
    roll = piano_roll(random_phrase(1), 257)
    (figure,) = perform.write_rolls(tmp_path, roll[None], [73])
    np.testing.assert_array_equal(midi.read_midi(tmp_path / "0.mid"), roll)
    assert set(midi.read_score(tmp_path / "0.mid").programs) == {73}
    assert (tmp_path / "0_roll.png").samefile(figure.path)


@pytest.fixture
def play(monkeypatch):
    """``(config, roll, hop) -> sound`` of a model of 1,024 samples with random parameters."""
    monkeypatch.setattr(sets, "load_phrases", lambda *_: phrase_set(np.zeros((4, 2048))))

    def perform(config, roll, hop):
        config.data.crop, config.sampling.steps = 1024, 2
        dataset = data_sets.build(config)
        model = build_model(config, dataset)
        run = Run(dataset, model, None, random_params(model), 0, NO_EXTRAS)
        assert long_sounds.hop_of(run, 0.95) == max(1024 // model.shape[0], 64)  # a frame of 16 ms, or a position
        return long_sounds.perform(config, run, roll[None], np.ones(1, np.int32), hop, 0)[0]

    return perform


def note_from(frame):
    """A roll of 2,560 samples, with a note from a frame on."""
    roll = np.zeros((41, 128), np.uint8)
    roll[frame:, 60] = 127
    return roll


@pytest.mark.slow
@pytest.mark.parametrize("hop", [64, 128])
def test_a_model_of_frames_plays_whole_rolls(play, hop):
    config = phrases.get_config("magnitudes")
    config.data.representation.update(hop=hop, iterations=2)
    config.network.update(channels=8, multipliers=(1,), factors=())
    drawn = play(config, note_from(8), 512)
    assert drawn.shape == (2560,)
    assert np.abs(drawn).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize(("hop", "same", "other"), [(1024, 2048, 2048), (512, 1024, 1536)])
def test_overlapping_windows_depend_on_each_other_and_separate_ones_do_not(play, hop, same, other):
    """The roll after two seconds decides what is played there, and with overlap what comes before it too."""
    config = phrases.get_config()
    config.data.representation.scale = 100.0  # below full scale, to which pieces are attenuated as a whole
    config.network.update(channels=8, multipliers=(1, 2), factors=(4,))
    silent, played = (play(config, note_from(frame), hop) for frame in (41, 32))
    assert silent.shape == (2560,)
    np.testing.assert_array_equal(silent[:same], played[:same])  # no window with the note reaches so far
    assert np.any(silent[other : other + 512] != played[other : other + 512])
