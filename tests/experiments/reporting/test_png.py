"""Captions and names of any characters and length are drawn as they stand, in both layouts."""

import json

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from experiments.cli.outputs import write_results
from experiments.reporting.curves import Line, Panel, curves
from experiments.reporting.grids import clouds, grid
from experiments.reporting.report import Heading, write_report

HOSTILE = r"$ $1 $\frac{ \$ and a\$b $_{_$ \text{x} $$" + " caf\udce9 \ud800 a\0b"
IMAGES, X = np.zeros((2, 1, 4, 4, 1)), np.arange(1.0, 4.0)


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout not applied")
@pytest.mark.parametrize("text", [HOSTILE, "y" * 100_000], ids=["hostile", "long"])
def test_no_text_is_a_formula_or_makes_a_picture_large(text, tmp_path, monkeypatch):
    seen = []
    original = Text._preprocess_math  # type: ignore[attr-defined]  # what is drawn, and whether as a formula
    monkeypatch.setattr(Text, "_preprocess_math", lambda self, s: seen.append(original(self, s)) or seen[-1])
    panel = Panel({text: Line(X, X, texts=[text] * 3)}, text, text, text, {text + "2": 1.0}, {}, {text: (X, X, X)})
    for path in (
        grid(tmp_path / "a.png", IMAGES, [text, "b"], [text], title=text, xlabel=text, captions=[text]),
        clouds(tmp_path / "b.png", {text: np.zeros((3, 2))}, text),
        curves(tmp_path / "c.png", [panel], title=text),
    ):
        assert max(imread(path).shape) < 2000
    assert not any(formula for shown, formula in seen if "b" in shown or "y" in shown)


def test_text_that_is_not_utf_8_is_written_and_read_back(tmp_path):
    name = "caf\udce9.wav"
    assert json.loads(write_results(tmp_path / "a.json", {name: "γ"}).read_text()) == {name: "γ"}
    page = write_report(tmp_path / "a.html", name, {"sound": name}, [Heading(name)]).read_text()
    assert page.count(r"caf\udce9.wav") >= 3
