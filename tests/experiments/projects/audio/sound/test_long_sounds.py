"""Sounds longer than the model's: windows of the map, overlapping windows, the table, and MIDI files."""

import re

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
    rng = np.random.default_rng(0)
    pitches = rng.permutation(np.arange(48, 72))[:8].reshape(2, 4)
    tone = lambda p: np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * np.arange(2048) / RATE)
    real = np.stack([np.concatenate([np.exp(-np.arange(2048) / 700) * tone(p) for p in row]) for row in pitches])
    broken = real.copy()
    broken[:, 5000:] += 0.3
    table = perform.compare({"rendered": real, "same": real, "broken": broken}, RATE, 5000)
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert rows["same"]["chroma"] == pytest.approx(1, abs=1e-3)
    assert rows["same"]["onsets"] == pytest.approx(1, abs=1e-3)
    assert rows["same"]["chroma, another roll"] < 0.5
    assert rows["broken"]["roughness at seams"] > 3 * rows["same"]["roughness at seams"]


def test_read_notes_says_what_it_leaves_out_and_moves(tmp_path, capsys):
    import pretty_midi

    song = pretty_midi.PrettyMIDI()
    for program, drums, notes in ((0, False, [(60, 0.5), (90, 0.0), (64, 0.0)]), (0, True, [(40, 0.0)])):
        part = pretty_midi.Instrument(program, is_drum=drums)
        part.notes += [pretty_midi.Note(80, pitch, start, start + 0.25) for pitch, start in notes]
        song.instruments.append(part)
    song.write(str(tmp_path / "song.mid"))
    config, path = phrases.get_config(), str(tmp_path / "song.mid")
    with pytest.raises(ConfigError, match=r"path must have notes from 36 to 84, got 1 of 90 .*; --octaves moves"):
        perform.read_notes(long_sounds.keys_of(config), path)
    found = perform.read_notes(long_sounds.keys_of(config), path, octaves=True)
    assert found == [Note(64, 80, 0.0, 0.25), Note(78, 80, 0.0, 0.25), Note(60, 80, 0.5, 0.75)]
    said = capsys.readouterr().out
    assert "1 note of pitch 90 moved to 78" in said
    assert "1 note of percussion (channel 10) left out" in said
    config.conditions.map.highest = 100
    assert 90 in {note.pitch for note in perform.read_notes(long_sounds.keys_of(config), path)}
    (tmp_path / "not.mid").write_text("no music")
    with pytest.raises(ConfigError, match=re.escape(f"--midi={tmp_path / 'not.mid'}: path must be a MIDI file")):
        perform.read_notes(long_sounds.keys_of(config), str(tmp_path / "not.mid"))
    midi.write_score(tmp_path / "rest.mid", [], seconds=1.0)
    with pytest.raises(ConfigError, match=r"rest\.mid: must have notes, got none"):
        perform.read_notes(long_sounds.keys_of(config), str(tmp_path / "rest.mid"))


def test_what_is_performed_is_written_as_midi(tmp_path):
    rolls = np.stack([piano_roll(random_phrase(seed), 257) for seed in (1, 2)])
    figures = perform.write_rolls(tmp_path, rolls, [0, 73])
    for i, (roll, program, figure) in enumerate(zip(rolls, [0, 73], figures, strict=True)):
        np.testing.assert_array_equal(midi.read_midi(tmp_path / f"{i}.mid"), roll)
        assert set(midi.read_score(tmp_path / f"{i}.mid").programs) == {program}
        assert (tmp_path / f"{i}_roll.png").samefile(figure.path)


@pytest.mark.slow
@pytest.mark.parametrize("hop", [64, 128])
def test_a_model_of_frames_plays_whole_rolls(monkeypatch, hop):
    monkeypatch.setattr(sets, "load_phrases", lambda *_: phrase_set(np.zeros((4, 2048))))
    config = phrases.get_config("magnitudes")
    config.data.crop = 1024
    config.data.representation.update(hop=hop, iterations=2)
    config.network.update(channels=8, multipliers=(1,), factors=())
    config.sampling.steps = 2
    dataset = data_sets.build(config)
    model = build_model(config, dataset)
    assert model.shape == (1024 // hop, 128)
    run = Run(dataset, model, None, random_params(model), 0, NO_EXTRAS)
    assert long_sounds.hop_of(run, 0.95) == hop  # a frame of 16 ms, or a position
    rolls = np.zeros((2, 41, 128), np.uint8)  # 2,560 samples
    rolls[1, 8:, 60] = 127
    drawn = long_sounds.perform(config, run, rolls, np.zeros(2, np.int32), 512, 0)
    assert drawn.shape == (2, 2560)
    assert np.abs(drawn).max(axis=1).min() > 0


@pytest.mark.slow
def test_perform_is_as_long_as_the_roll_and_overlapping_windows_depend_on_each_other(monkeypatch):
    """The roll after a second decides what separate windows play there, and with overlap what comes before it too."""
    monkeypatch.setattr(sets, "load_phrases", lambda *_: phrase_set(np.zeros((4, 2048))))
    config = phrases.get_config()
    config.data.crop = 1024
    config.data.representation.scale = 100.0  # below full scale, to which pieces are attenuated as a whole
    config.network.update(channels=8, multipliers=(1, 2), factors=(4,))
    config.sampling.steps = 2
    dataset = data_sets.build(config)
    model = build_model(config, dataset)
    run = Run(dataset, model, None, random_params(model), 0, NO_EXTRAS)
    rolls = np.zeros((2, 41, 128), np.uint8)  # 2,560 samples: a window and a half more
    rolls[1, 32:, 60] = 127
    programs = np.array([1, 1], np.int32)

    def draw(row, hop):
        drawn = long_sounds.perform(config, run, rolls[[row, row]], programs, hop, 0)
        assert drawn.shape == (2, 2560)
        return drawn[0]

    silent, played = draw(0, 1024), draw(1, 1024)
    np.testing.assert_array_equal(silent[:2048], played[:2048])
    assert np.any(silent[2048:] != played[2048:])
    silent, played = draw(0, 512), draw(1, 512)
    np.testing.assert_array_equal(silent[:1024], played[:1024])  # no window with the note reaches so far
    assert np.any(silent[1536:2048] != played[1536:2048])
