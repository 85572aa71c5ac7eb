"""Piano rolls: a bar for each note, at its time and pitch."""

from matplotlib.figure import Figure

from experiments.projects.audio.piano_rolls import roll
from scorekit.data.phrases import Note


def test_piano_rolls_have_a_bar_for_each_note_at_its_time_and_pitch():
    notes, (first, silence) = [Note(48, 127, 0.0, 0.5), Note(72, 1, 2.0, 2.0)], Figure().subplots(2)
    roll(notes, 4.0, notes[:1], names=("composed", "given"))(first)
    roll([], 4.0)(silence)
    bars = [(bar.get_x(), bar.get_width(), bar.get_y()) for bar in first.patches[:3]]
    assert bars == [(0.0, 0.5, 48 - 0.45), (2.0, 0.01, 72 - 0.45), (0.0, 0.5, 48 - 0.45)]
    loud, soft, outline = (bar.get_facecolor()[3] for bar in first.patches[:3])
    assert loud == 1.0 > soft > 0.3 > outline == 0
    assert [label.get_text() for label in first.get_yticklabels()] == ["C3", "G3", "C4", "G4", "C5"]
    assert first.get_legend_handles_labels()[1] == ["composed", "given"]
    assert len(silence.patches) == 0
