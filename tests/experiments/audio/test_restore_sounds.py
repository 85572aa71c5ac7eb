"""``experiments.audio.restore_sounds`` and ``experiments.audio.perform``: what is observed, what is measured, what is refused."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from programs import give

from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.configs.phrases import phrases
from experiments.inverse import restoration
from scorekit import audio
from scorekit.data.phrases import Note

RATE = 4000
T = np.arange(4096) / RATE
SOUNDS = jnp.asarray(
    np.stack([np.sin(2 * np.pi * 220 * T), 0.5 * np.sin(2 * np.pi * 1500 * T)])[..., None], jnp.float32
)


@pytest.fixture
def program(load_program):
    found = load_program("experiments.audio.restore_sounds")
    give(workdir="nowhere")
    return found


@pytest.mark.parametrize("name", ["gap", "bandwidth", "declip", "phase"])
def test_the_truth_explains_its_observation(program, name):
    task = program.PROBLEMS[name](SOUNDS, RATE).task
    y = task.operator(SOUNDS)
    assert restoration.consistency(task, np.asarray(SOUNDS), y) == pytest.approx(0, abs=1e-6)
    assert restoration.consistency(task, 0.2 * np.asarray(SOUNDS), y) > 0.01
    assert task.picture(np.asarray(y)).shape == SOUNDS.shape


def test_what_each_task_loses(program):
    before = {n: np.asarray(p(SOUNDS, RATE).task.picture(np.asarray(p(SOUNDS, RATE).task.operator(SOUNDS))))[..., 0]
              for n, p in program.PROBLEMS.items()}  # fmt: skip
    x = np.asarray(SOUNDS)[..., 0]
    lost = np.flatnonzero(before["gap"][0] != x[0])
    assert lost.min() >= 1920
    assert lost.max() < 2176
    assert len(lost) > 200
    assert program.PROBLEMS["gap"](SOUNDS, RATE).part == slice(1664, 2432)
    inside = slice(100, -100)
    assert np.abs(before["bandwidth"][0] - x[0])[inside].max() < 0.02  # 220 Hz is below 500 Hz
    assert np.abs(before["bandwidth"][1])[inside].max() < 0.01
    np.testing.assert_allclose(np.abs(before["declip"]).max(1), [0.3, 0.15], rtol=1e-3)
    window = audio.hann(128)
    sizes = [audio.magnitude(audio.stft(s, window, 32)) for s in (before["phase"], x)]
    assert float(audio.spectral_convergence(*sizes).max()) < 0.1


def test_the_error_is_in_decibels_of_the_sound_and_silence_is_left_out(program):
    x = np.asarray(SOUNDS)[..., 0]
    silent = np.concatenate([x, np.zeros_like(x[:1])])
    *_, error = program._distances(0.9 * silent, silent, slice(None), RATE)
    assert error == pytest.approx(-20, abs=0.01)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "gp"}, r"--task=gp: must be one of gap, .* \(did you mean gap\?\)"),
        ({"noise_std": "-1"}, r"--noise_std=-1.0: must be a finite number >= 0"),
        ({"method": "mmsp"}, r"--method=mmsp: must be one of .* \(did you mean mmps\?\)"),
        ({"condition": "class"}, "--condition=class: must be own or null"),
    ],
)
def test_a_mistyped_command_is_refused(program, given, message):
    give(**given)
    with pytest.raises(ConfigError, match=message):
        program.main(base.get_config())


# ---- perform ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def perform(load_program):
    found = load_program("experiments.audio.perform")
    give(workdir="nowhere")
    return found


def test_maps_are_cut_as_their_windows(perform):
    samples = np.arange(24.0).reshape(1, 12, 2)
    np.testing.assert_array_equal(perform.cut_map(samples, 12, 4, 2)[3], samples[0, 6:10])
    frames = np.arange(7.0).reshape(1, 7, 1)  # centred on every second of 12 places, and the end
    found = perform.cut_map(frames, 12, 4, 2)[..., 0]
    np.testing.assert_array_equal(found, [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]])


def test_the_table_knows_the_right_phrase_and_a_broken_seam(perform):
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


def test_a_midi_file_is_read_without_its_drums(perform, tmp_path):
    import pretty_midi

    song = pretty_midi.PrettyMIDI()
    for program, drums, notes in ((0, False, [(60, 0.5), (90, 0.0), (64, 0.0)]), (0, True, [(40, 0.0)])):
        part = pretty_midi.Instrument(program, is_drum=drums)
        part.notes += [pretty_midi.Note(80, pitch, start, start + 0.25) for pitch, start in notes]
        song.instruments.append(part)
    song.write(str(tmp_path / "song.mid"))
    assert perform.read_midi(str(tmp_path / "song.mid")) == [Note(64, 80, 0.0, 0.25), Note(60, 80, 0.5, 0.75)]
    (tmp_path / "not.mid").write_text("no music")
    with pytest.raises(ConfigError, match=re.escape(f"--midi={tmp_path / 'not.mid'}: must be a MIDI file")):
        perform.read_midi(str(tmp_path / "not.mid"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"overlap": "1"}, r"--overlap=1.0: must be in \[0, 1\)"),
        ({"seconds": "0"}, "--seconds=0.0: must be finite and > 0"),
        ({"program": "5"}, "--program=5: must be one of 0, 4, "),
    ],
)
def test_a_performance_that_cannot_be_is_refused(perform, given, message):
    give(**given)
    with pytest.raises(ConfigError, match=message):
        perform.main(phrases.get_config())


def test_a_model_without_rolls_is_refused(perform):
    with pytest.raises(ConfigError, match="must hold a model of phrases that is told their roll"):
        perform.main(base.get_config())
