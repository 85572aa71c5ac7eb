"""MIDI files: times by the tempo, keys and pedals, ranges, round trips, and what is no MIDI file."""

import contextlib
import os
import struct

import mido
import numpy as np
import pytest

from scorekit.data import _midi_keys
from scorekit.data.midi import notes_of_roll, read_midi, read_score, write_midi, write_score
from scorekit.data.phrases import Note, piano_roll, random_phrase


def on(tick, pitch, velocity=80, channel=0):
    return tick, mido.Message("note_on", note=pitch, velocity=velocity, channel=channel)


def off(tick, pitch, channel=0):
    return tick, mido.Message("note_off", note=pitch, channel=channel)


def pedal(tick, down, channel=0):
    return tick, mido.Message("control_change", control=64, value=127 * down, channel=channel)


def tempo(tick, microseconds):
    return tick, mido.MetaMessage("set_tempo", tempo=microseconds)


def save(path, *tracks, ticks_per_beat=100, type=1):
    """A file of tracks of messages at absolute ticks; by default a tick is 5 ms."""
    song = mido.MidiFile(type=type, ticks_per_beat=ticks_per_beat)
    for events in tracks:
        track, now = mido.MidiTrack(), 0
        for tick, message in events:
            track.append(message.copy(time=tick - now))
            now = tick
        song.tracks.append(track)
    song.save(path)
    return path


def times(score):
    return [(note.pitch, note.start, note.end) for note in score.notes]


def test_tempo_changes_are_resolved_to_the_nearest_float(tmp_path):
    """In the middle of a note, and in another track; the sum of many ticks of an odd tempo has no rounding errors."""
    path = save(
        tmp_path / "a.mid",
        [tempo(0, 500_000), tempo(150, 1_000_001), tempo(250, 333_333)],
        [on(100, 60), off(200, 60), on(100_000, 61), off(100_001, 61)],
    )
    first = 100 * 500_000
    middle = 150 * 500_000 + 50 * 1_000_001
    late = 150 * 500_000 + 100 * 1_000_001 + (100_000 - 250) * 333_333
    unit = 100 * 1_000_000
    assert times(read_score(path)) == [(60, first / unit, middle / unit), (61, late / unit, (late + 333_333) / unit)]


def test_tracks_instruments_and_percussion(tmp_path):
    program = lambda tick, number, channel: (tick, mido.Message("program_change", program=number, channel=channel))
    path = save(
        tmp_path / "a.mid",
        [program(0, 40, 0), on(100, 60), off(200, 60), program(200, 41, 0), on(200, 60), off(300, 60)],
        [program(0, 73, 3), on(0, 60, 90, 3), on(100, 62, 90, 3), off(300, 60, 3), off(300, 62, 3)],
        [on(0, 38, 99, 9), off(10, 38, 9), on(20, 38, 99, 9)],
    )
    score = read_score(path)
    assert times(score) == [(60, 0.0, 1.5), (60, 0.5, 1.0), (62, 0.5, 1.5), (60, 1.0, 1.5)]
    assert score.programs == (73, 40, 73, 41)
    assert score.seconds == 1.5
    assert score.remarks == ("2 notes of percussion (channel 10) left out",)
    with pytest.warns(UserWarning, match="a.mid: 2 notes of percussion"):
        roll = read_midi(path, rate=2)
    assert roll[:, 60].tolist() == [90, 80, 80]


def test_keys_struck_again_and_notes_of_no_length(tmp_path):
    path = save(
        tmp_path / "a.mid",
        [on(0, 60), on(100, 60), off(200, 60), off(300, 60), on(300, 61), off(300, 61), off(300, 62), on(400, 63)],
    )
    score = read_score(path)
    assert times(score) == [(60, 0.0, 0.5), (60, 0.5, 1.5), (61, 1.5, 1.5), (63, 2.0, 2.0)]
    assert score.remarks == ("1 note without an end last until the end of the file",)
    roll = read_midi(save(tmp_path / "b.mid", [on(0, 60), off(200, 60), on(200, 60), off(400, 60)]), rate=10)
    assert roll[:, 60].tolist() == [80] * 9 + [0] + [80] * 10  # the key goes up before it is struck again
    assert len(notes_of_roll(roll, 10)) == 2


def test_the_sustain_pedal_holds_released_keys(tmp_path):
    """Until it is released or the key struck again; it belongs to a channel, and keys still down are not its own."""
    path = save(
        tmp_path / "a.mid",
        [pedal(0, True), on(0, 60), off(100, 60), on(0 + 100, 64), off(200, 64), on(300, 60), pedal(400, False),
         off(500, 60), on(500, 60), off(600, 60)],
        [on(0, 50, 80, 1), off(100, 50, 1)],
    )  # fmt: skip
    found = times(read_score(path))
    assert found == [(50, 0.0, 0.5), (60, 0.0, 1.5), (64, 0.5, 2.0), (60, 1.5, 2.5), (60, 2.5, 3.0)]


def test_notes_out_of_range_are_an_error_or_move_by_octaves(tmp_path):
    path = save(tmp_path / "a.mid", [on(0, 20), off(100, 20), on(100, 90), off(200, 90), on(200, 90), off(300, 90)])
    with pytest.raises(ValueError, match="path must have notes from 36 to 84, got 1 of 20, 2 of 90 in "):
        read_score(path, lowest=36, highest=84)
    score = read_score(path, lowest=36, highest=84, out_of_range="octave")
    assert [note.pitch for note in score.notes] == [44, 78, 78]
    assert score.remarks == ("1 note of pitch 20 moved to 44", "2 notes of pitch 90 moved to 78")
    down = save(tmp_path / "down.mid", [on(0, 12), off(100, 12)])
    assert [n.pitch for n in read_score(down, lowest=0, highest=11, out_of_range="octave").notes] == [0]
    with pytest.raises(ValueError, match="must have notes from 60 to 64"):
        read_score(path, lowest=60, highest=64, out_of_range="octave")


@pytest.mark.parametrize("rate", [62.5, 31.25, 100, 997.0, 7 / 3])
def test_rolls_round_trip_exactly(tmp_path, rate):
    rng = np.random.default_rng(0)
    roll = (rng.integers(1, 128, (60, 128)) * (rng.random((60, 128)) < 0.3)).astype(np.uint8)
    roll[:, 3:60] = np.repeat(roll[::4, 3:60], 4, axis=0)
    roll[-5:] = 0
    for each in (roll, roll[:1], np.zeros((7, 128), np.uint8)):
        write_midi(tmp_path / "a.mid", each, rate=rate, program=73)
        found = read_midi(tmp_path / "a.mid", rate=rate)
        np.testing.assert_array_equal(found, each)
        assert found.dtype == np.uint8


def test_phrases_are_their_own_rolls_and_scores_round_trip(tmp_path):
    """Notes of several instruments keep their instrument; onsets are right to half a tick."""
    notes = random_phrase(3)
    roll = piano_roll(notes, 257)
    assert len(notes_of_roll(roll)) == len(notes)
    np.testing.assert_array_equal(piano_roll(notes_of_roll(roll), 257), roll)
    programs = [(0, 40, 73)[i % 3] for i in range(len(notes))]
    write_score(tmp_path / "a.mid", notes, programs, 5.0)
    score = read_score(tmp_path / "a.mid")
    key = lambda pair: (round(pair[0].start, 2), *pair[0][:2], pair[1])
    ours = sorted(zip(notes, programs, strict=True), key=key)
    theirs = sorted(zip(score.notes, score.programs, strict=True), key=key)
    assert [(n.pitch, n.velocity, p) for n, p in ours] == [(n.pitch, n.velocity, p) for n, p in theirs]
    np.testing.assert_allclose([n[2:] for n, _ in theirs], [n[2:] for n, _ in ours], atol=0.5 / 1920 + 1e-9)
    assert score.seconds == 5.0
    assert score.remarks == ()


def test_damaged_files_never_end_in_another_error(tmp_path):
    write_score(tmp_path / "a.mid", random_phrase(0))
    good, rng = (tmp_path / "a.mid").read_bytes(), np.random.default_rng(0)
    for i in range(150):
        bad = bytearray(good[: rng.integers(1, len(good))] if i % 2 else good)
        for _ in range(i % 3):
            bad[rng.integers(len(bad))] = rng.integers(256)
        (tmp_path / "b.mid").write_bytes(bytes(bad))
        with contextlib.suppress(ValueError):
            read_score(tmp_path / "b.mid")


@pytest.mark.parametrize(
    "events",
    [
        [pedal(0, True), *(event for i in range(1000) for event in (on(i, i % 128), off(i, i % 128)))],
        [on(i, 60) for i in range(1000)],
        [pedal(0, True), *(on(i, i % 128) for i in range(1000)), *(off(1000, i % 128) for i in range(1000))],
    ],
)
def test_the_work_is_proportional_to_the_notes(tmp_path, events, monkeypatch):
    looked_at: list[int] = []
    is_open = lambda note: note.end != note.end
    monkeypatch.setattr(_midi_keys._Played, "open", property(lambda note: looked_at.append(1) or is_open(note)))
    assert len(read_score(save(tmp_path / "a.mid", events)).notes) == 1000
    assert len(looked_at) < 5000


def raw(track, ticks_per_beat=1):
    """A file of one track of these bytes."""
    return b"MThd" + struct.pack(">Lhhh", 6, 0, 1, ticks_per_beat) + b"MTrk" + struct.pack(">L", len(track)) + track


def type_of(kind, division):
    return b"MThd" + struct.pack(">Lhhh", 6, kind, 0, division)


WRONG = {
    "of type 0 or 1, got .*: .*": [b"", b"no music at all", type_of(2, 96), type_of(1, -6360)],
    "of at most 4 hours, got": [
        raw(b"\0\x90\x40\x40" + b"\xff\xff\xff\x7f\x80\x40\x40" + b"\0\xff\x2f\0"),  # a roll of a terabyte
        raw(b"\0\x90\x40\x40" + b"\xff" * 9_000 + b"\x7f\x80\x40\x40"),
    ],
    "a time or length of more than 10,000 bytes": [raw(b"\0\x90\x40\x40" + b"\xff" * 20_000 + b"\0")],
    "must hold at most 4,194,304 bytes": [bytes(2**22 + 1)],
    "of tempos above 0, got 0 microseconds a beat": [raw(b"\0\xff\x51\x03\0\0\0" + b"\0\x90\x40\x40\1\x80\x40\x40")],
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_no_midi_file_is_named_in_one_line(tmp_path, words):
    path = tmp_path / "a.mid"
    for content in WRONG[words]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^path must be a MIDI file .*{words}") as found:
            read_midi(path)
        assert str(path) in str(found.value)
        assert "\n" not in str(found.value)


def test_pipes_silence_and_rolls_beyond_the_limit_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.mid")
    save(tmp_path / "silent.mid", [], [])
    write_score(tmp_path / "a.mid", [Note(60, 80, 0.0, 1.0)])
    for name, rate, words in (
        ("pipe", 100, "path must be a MIDI file .* it is a pipe"),
        ("nowhere", 100, "path must be a MIDI file .*nowhere"),
        ("silent", 100, "path must have notes or a length"),
        ("a", 1e7, "rate must give at most 8,388,608 frames"),
        ("a", 1e308, "rate must give at most 8,388,608 frames"),
    ):
        with pytest.raises(ValueError, match=words):
            read_midi(tmp_path / f"{name}.mid", rate=rate)
