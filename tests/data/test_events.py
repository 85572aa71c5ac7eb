"""Event tokens: every score survives to the resolution, has one sequence, and any tokens are decoded."""

import numpy as np
import pytest

from scorekit.data.events import EventCode
from scorekit.data.midi import read_score, write_score
from scorekit.data.phrases import Note

CODES = {
    "default": EventCode(),
    "1 ms": EventCode(resolution=0.001, velocities=127, programs=True),
    "64 ms": EventCode(resolution=0.064, velocities=1, shifts=7),
}


def random_score(seed):
    """Few keys, so that notes overlap, repeat and nest; some have no length, and there are long silences."""
    rng = np.random.default_rng(seed)
    notes = []
    for start in np.cumsum(rng.choice([0.0, 0.01, 0.3, 40.0], size=30, p=[0.3, 0.3, 0.35, 0.05]) * rng.random(30)):
        end = float(start + rng.choice([0.0, 0.05, 2.0, 30.0]))
        notes.append(Note(int(rng.integers(60, 63)), int(rng.integers(1, 128)), float(start), end))
    return notes, [int(p) for p in rng.integers(0, 3, size=30)]


def in_steps(code, notes, programs):
    """All that a code says of notes."""
    step = lambda seconds: round(seconds / code.resolution)
    bin_ = lambda velocity: (velocity - 1) * code.velocities // 127
    each = zip(notes, programs, strict=True)
    return sorted((step(n.start), step(n.end), n.pitch, bin_(n.velocity), p * code.programs) for n, p in each)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CODES)
def test_scores_survive_to_the_resolution(name, seed):
    code, (notes, programs) = CODES[name], random_score(seed)
    tokens = code.encode(notes, programs, seconds=500.0)
    score = code.decode(tokens)
    assert not score.remarks
    assert in_steps(code, score.notes, score.programs) == in_steps(code, notes, programs)
    assert score.seconds == pytest.approx(max(500.0, *(note.end for note in notes)), abs=code.resolution / 2)
    # one sequence for each score, whatever the order of its notes
    np.testing.assert_array_equal(code.encode(score.notes, score.programs, score.seconds), tokens)
    np.testing.assert_array_equal(code.encode(notes[::-1], programs[::-1], 500.0), tokens)


@pytest.mark.parametrize("seed", range(5))
def test_midi_files_survive_to_a_millisecond(tmp_path, seed):
    code = CODES["1 ms"]
    write_score(tmp_path / "a.mid", *random_score(seed))
    first = read_score(tmp_path / "a.mid")
    assert len(first.notes) > 20
    score = code.decode(code.encode(*first[:3]))
    assert in_steps(code, score.notes, score.programs) == in_steps(code, first.notes, first.programs)
    for attribute in ("start", "end"):
        times = [sorted(getattr(note, attribute) for note in part.notes) for part in (score, first)]
        np.testing.assert_allclose(*times, atol=0.0005 + 1e-9, rtol=0)


@pytest.mark.parametrize("bins", [1, 2, 3, 32, 64, 90, 126, 127])
def test_the_velocity_of_a_bin_is_in_it(bins):
    code = EventCode(velocities=bins)
    notes = [Note(60, v, v / 10, v / 10 + 0.05) for v in range(1, 128)]
    tokens = code.encode(notes)
    found = code.decode(tokens)
    np.testing.assert_array_equal(code.encode(found.notes), tokens)
    error = [abs(a.velocity - b.velocity) for a, b in zip(found.notes, notes, strict=True)]
    assert max(error) <= 0.5 * 127 / bins + 0.5
    assert len({note.velocity for note in found.notes}) == bins


def test_a_note_inside_another_of_its_key_keeps_its_end():
    code = EventCode(resolution=0.1, shifts=10, velocities=1)
    notes = [Note(60, 64, 0.0, 3.0), Note(60, 64, 1.0, 2.0)]
    tokens = code.encode(notes)
    assert code.names(tokens) == [
        *("on 60", "shift 10", "on 60", "shift 10", "next", "off 60", "shift 10", "off 60", "end"),
    ]
    assert list(code.decode(tokens).notes) == notes


def test_a_window_has_no_note_offs_at_its_end():
    code = EventCode(resolution=0.1, shifts=10, velocities=1)
    notes = [Note(60, 64, 0.0, 2.0), Note(62, 64, 0.5, 1.0)]
    tokens = code.encode([*notes, Note(64, 64, 2.0, 3.0)], seconds=2.0, window=True)
    assert code.names(tokens) == ["on 60", "shift 5", "on 62", "shift 5", "off 62", "end"]
    assert code.decode(tokens, 2.0) == (tuple(notes), (0, 0), 2.0, ())
    late = code.decode(code.encode([*notes, Note(64, 64, 2.0, 3.0)]), 2.0)
    assert late == (tuple(notes), (0, 0), 2.0, ("notes after the window, left out: 1",))
    for words in (["shift 10", "on 60", "end"], ["shift 10", "on 60", "off 60", "shift 1", "end"]):
        at_the_end = code.decode(np.array(code.tokens(words)), 1.0)
        assert at_the_end == ((), (), 1.0, ("notes after the window, left out: 1",))


@pytest.mark.parametrize("name", CODES)
def test_any_tokens_are_decoded_and_what_has_no_effect_is_said(name):
    code, rng = CODES[name], np.random.default_rng(0)
    for _ in range(30):
        tokens = rng.integers(1, code.num_tokens, size=200)
        score = code.decode(tokens)
        kinds = [word.split()[0] for word in code.names(tokens)]
        ignored, still = (
            sum(int(remark.rpartition(": ")[2]) for remark in score.remarks if remark.startswith(kind))
            for kind in ("note-offs", "notes without")
        )
        assert len(score.notes) == kinds.count("on")
        assert kinds.count("off") - ignored == kinds.count("on") - still  # each other note has its own end
        assert score.remarks[-1] == "the sequence has no end"
        again = code.decode(code.encode(score.notes, score.programs, score.seconds))
        assert (again.notes, again.programs, again.remarks) == (*score[:2], ())
    for said, sequence in {
        "note-offs without a note, ignored: 1": ("off 60", "end"),
        "notes without an end, which last until the end of the sequence: 1": ("on 60", "end"),
        '"next" without so many notes of a key, ignored: 2': ("on 60", "next", "next", "off 60", "end", "on 60"),
        '"next" without so many notes of a key, ignored: 1': ("on 60", "off 60", "next", "end"),
    }.items():
        assert code.names(code.tokens(sequence)) == list(sequence)
        assert code.decode(code.tokens(sequence)).remarks == (said,)
    assert code.decode([]) == ((), (), 0.0, ("the sequence has no end",))
