"""Captions and names of any characters and length are drawn as they stand, in both layouts."""

import json

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from experiments.cli.outputs import write_results
from experiments.reporting.curves import Line, Panel, curves, lines
from experiments.reporting.grids import clouds, grid, roll
from experiments.reporting.report import Heading, write_report
from scorekit.data.phrases import Note

HOSTILE = ["$", "from $1 to $2", r"$\frac{", r"\$ and a\$b", r"$_{_$ \text{x}", "$$", "caf\udce9 \ud800", "a\0b"]
HOSTILE += ["y" * 100_000]
IMAGES, X, NOTES = np.zeros((2, 1, 4, 4, 1)), np.arange(1.0, 4.0), [Note(60, 90, 0.0, 1.0)]

DRAW = {
    "images": lambda path, text: grid(path, IMAGES, [text, "b"], [text], title=text, xlabel=text, captions=[text]),
    "points": lambda path, text: clouds(path, {text: np.zeros((3, 2))}, text),
    "roll": lambda path, text: grid(path, [[roll(NOTES, 1.0, NOTES, names=(text, "b"))]], [text], [text]),
    "curves": lambda path, text: curves(
        path,
        [Panel({text: Line(X, X, texts=[text] * 3)}, text, text, text, {text + "2": 1.0}, {}, {text: (X, X, X)})],
        title=text,
    ),
}


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout not applied")
def test_text_is_drawn_as_it_stands(kind, tmp_path):
    for text in HOSTILE if kind == "images" else (" ".join(HOSTILE[:-1]), HOSTILE[-1]):
        height, width, _ = imread(DRAW[kind](tmp_path / "a.png", text)).shape
        assert max(height, width) < 2000


@pytest.mark.parametrize("text", ["from $1 to $2", r"\$ and a\$b", r"$x_1$"])
def test_no_text_is_a_formula(text, tmp_path, monkeypatch):
    seen = []
    original = Text._preprocess_math  # type: ignore[attr-defined]  # what is drawn, and whether as a formula
    monkeypatch.setattr(Text, "_preprocess_math", lambda self, s: seen.append(original(self, s)) or seen[-1])
    grid(tmp_path / "a.png", IMAGES, [text, "b"], title=text)
    assert {(text, False), ("b", False)} <= set(seen)
    assert not any(formula for _, formula in seen)


def test_numbers_at_logarithmic_axes_stay_formulas(tmp_path, figures):
    curves(tmp_path / "a.png", [Panel(lines(X, {"a": 10.0**X}), "x", "y", axes={"yscale": "log"})])
    assert any("10^{" in label.get_text() for label in figures[0].axes[0].get_yticklabels())


def test_text_that_is_not_utf_8_is_written_and_read_back(tmp_path):
    name = "caf\udce9.wav"
    assert json.loads(write_results(tmp_path / "a.json", {name: "γ"}).read_text()) == {name: "γ"}
    page = write_report(tmp_path / "a.html", name, {"sound": name}, [Heading(name)]).read_text()
    assert page.count(r"caf\udce9.wav") >= 3
