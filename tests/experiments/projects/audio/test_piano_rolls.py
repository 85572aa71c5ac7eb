"""Piano rolls: a bar for each note, at its time and pitch."""

from matplotlib.figure import Figure

from experiments.projects.audio.piano_rolls import roll
from scorekit.data.phrases import Note


def test_piano_rolls_have_a_bar_for_each_note_at_its_time_and_pitch():
    notes, (first, silence) = [Note(48, 127, 0.0, 0.5), Note(72, 1, 2.0, 2.0)], Figure().subplots(2)
    roll(notes, 4.0, notes[:1], names=("composed", "given"))(first)
    roll([], 4.0)(silence)
    early, late, outline = first.patches[:3]
    assert (early.get_x(), early.get_width(), early.get_y()) == (0.0, 0.5, 48 - 0.45)
    assert (late.get_x(), late.get_width(), late.get_y()) == (2.0, 0.01, 72 - 0.45)
    assert early.get_facecolor()[3] == 1.0 > late.get_facecolor()[3] > 0.3
    assert outline.get_facecolor()[3] == 0
    assert (first.get_xlim(), first.get_ylim()) == ((0, 4), (45.5, 74.5))
    assert [label.get_text() for label in first.get_yticklabels()] == ["C3", "G3", "C4", "G4", "C5"]
    assert first.get_legend_handles_labels()[1] == ["composed", "given"]
    assert len(silence.patches) == 0
