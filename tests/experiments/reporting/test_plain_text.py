"""Captions and names of any characters and length are drawn as they stand, in every kind of figure."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from experiments.models.runs import write_results
from experiments.reporting import captioned, curves, piano_rolls, plots
from experiments.reporting.report import Heading, write_report
from scorekit.data.phrases import Note

HOSTILE = [
    "$",
    "from $1 to $2",
    r"$\frac{",
    r"\$ and a\$b",
    r"$_{_$ \text{x}",
    "$$",
    "caf\udce9 \ud800",
    "a\0b",
    "y" * 100_000,
]
IMAGES, X = np.zeros((2, 4, 4, 1)), np.arange(1.0, 4.0)
NOTES = [Note(60, 90, 0.0, 1.0)]

DRAW = {
    "image_grid": lambda path, text: plots.image_grid(path, IMAGES, row_labels=[text, "b"], title=text),
    "comparison": lambda path, text: plots.comparison(path, {text: IMAGES}, row_labels=[text, "b"], title=text),
    "guidance_strip": lambda path, text: plots.guidance_strip(path, {1.0: IMAGES}, [text, "b"], title=text),
    "points_2d": lambda path, text: plots.points_2d(path, {text: np.zeros((3, 2))}, title=text),
    "accuracy": lambda path, text: plots.accuracy_by_noise_level(path, X, {text: X / 3}, chance=0.1),
    "panels": lambda path, text: curves.panels(path, X, {text: {text: X}}, xlabel=text, ylabel=text, title=text),
    "metric_panels": lambda path, text: curves.metric_panels(path, X, {text: {text: X}}, xlabel=text, title=text),
    "trade_off": lambda path, text: curves.trade_off(path, {text: (X, X, [text] * 3)}, xlabel=text, ylabel=text),
    "histograms": lambda path, text: curves.histograms(path, {text: {text: X}}, lines={text: {text: 1.0}}),
    "curve": lambda path, text: curves.curve(path, X, {text: X}, xlabel=text, ylabel=text, title=text),
    "captioned_grid": lambda path, text: captioned.captioned_grid(path, [IMAGES], [text, "b"], title=text),
    "roll_picture": lambda path, text: piano_rolls.roll_picture(path, NOTES, 1.0, reference=NOTES, names=(text, "b")),
}


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout not applied")
def test_text_is_drawn_as_it_stands(kind, tmp_path):
    for i, text in enumerate((" ".join(HOSTILE[:-1]), HOSTILE[-1])):
        height, width, _ = imread(DRAW[kind](tmp_path / f"{i}.png", text)).shape
        assert max(height, width) < 2000


@pytest.mark.parametrize("text", HOSTILE[:-1])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_every_text_is_drawn(text, tmp_path):
    DRAW["image_grid"](tmp_path / "a.png", text)


@pytest.mark.parametrize("text", ["from $1 to $2", r"\$ and a\$b", r"$x_1$"])
def test_no_text_is_a_formula(text, tmp_path, monkeypatch):
    seen = []
    original = Text._preprocess_math  # type: ignore[attr-defined]  # what is drawn, and whether as a formula
    monkeypatch.setattr(Text, "_preprocess_math", lambda self, s: seen.append(original(self, s)) or seen[-1])
    plots.image_grid(tmp_path / "a.png", IMAGES, row_labels=[text, "b"], title=text)
    assert {(text, False), ("b", False)} <= set(seen)
    assert not any(formula for _, formula in seen)


def test_numbers_at_logarithmic_axes_stay_formulas(tmp_path, monkeypatch):
    seen = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (seen.append(self), savefig(self, *a, **k))[1])
    curves.panels(tmp_path / "a.png", X, {"": {"a": 10.0**X}}, xlabel="x", ylabel="y")
    assert any("10^{" in label.get_text() for label in seen[0].axes[0].get_yticklabels())


def test_text_that_is_not_utf_8_is_written_and_read_back(tmp_path):
    name = "caf\udce9.wav"
    assert json.loads(write_results(tmp_path / "a.json", {name: "γ"}).read_text()) == {name: "γ"}
    page = write_report(tmp_path / "a.html", name, {"sound": name}, [Heading(name)]).read_text()
    assert page.count(r"caf\udce9.wav") >= 3
