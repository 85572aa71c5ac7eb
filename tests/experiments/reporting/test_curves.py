"""Curves: panels that share an axis."""

import numpy as np
import pytest

from experiments.reporting import curves


def test_panels_draw_curves_with_shades_and_raise_on_other_lengths(tmp_path):
    x, panel = np.arange(3.0), {"a": np.array([1.0, np.nan, 30.0]), "b": np.ones(3)}
    shades = {"left": {"a": np.ones(3)}}
    path = curves.panels(
        tmp_path / "c.png", x, {"left": panel, "right": panel}, xlabel="x", ylabel="y", title="t", shades=shades
    )
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match=r"a must have the shape \(3,\) of x, got \(2,\)"):
        curves.panels(path, x, {"": {"a": np.ones(2)}}, xlabel="x", ylabel="y")


def test_levels_that_depend_on_nothing_differ_from_every_curve(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(curves, "save", lambda figure, path: saved.append(figure) or path)
    values = {name: np.arange(3.0) for name in "abcdefgh"}
    levels = {"recall": {"real": 0.9, "chance": 0.1}, "precision": {"real": 0.5}}
    curves.metric_panels(
        tmp_path / "m.png", np.arange(3.0), {"recall": values, "precision": values}, xlabel="x", levels=levels
    )
    (figure,) = saved
    first, second = figure.axes
    real, chance = first.get_lines()[8:]
    assert [list(line.get_ydata()) for line in (real, chance)] == [[0.9, 0.9], [0.1, 0.1]]
    assert list(second.get_lines()[8].get_ydata()) == [0.5, 0.5]
    look = lambda line: (line.get_color(), line.get_linestyle())
    assert len({look(line) for line in first.get_lines()}) == 10
    assert look(second.get_lines()[8]) == look(real)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*"abcdefgh", "real", "chance"]
