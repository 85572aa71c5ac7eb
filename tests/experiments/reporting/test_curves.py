"""Curves in panels: the values that are drawn, legends, units and limits."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from experiments.reporting import run_report
from experiments.reporting.curves import Line, Panel, curves, lines
from experiments.reporting.report import Figure, Heading
from experiments.training.writers import MetricWriter


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def test_panels_have_lines_with_error_bars_histograms_units_and_limits(tmp_path, figures):
    x, y = np.arange(3.0), np.array([1.0, np.inf, 30.0])
    left = Panel(lines(x, {"a": y, "b": x}, {"a": np.ones(3)}), "γ", "FID", "left", axes={"xlim": (0, 5)})
    right = Panel({"b": Line(np.arange(4.0), x), "c": Line(x, x, texts=["p", "q", "r"])}, "t", "density (1/nat)")
    assert curves(tmp_path / "c.png", [left, right], title="T").stat().st_size > 1000
    first, second = figures[0].axes
    assert (first.get_xlabel(), first.get_ylabel(), first.get_title()) == ("γ", "FID", "left")
    assert first.get_xlim() == (0, 5)
    np.testing.assert_array_equal(first.lines[0].get_ydata(), [1, np.nan, 30])
    np.testing.assert_array_equal(first.collections[0].get_segments()[2], [[2, 29], [2, 31]])
    steps = second.patches[0]
    np.testing.assert_array_equal(steps.get_data().values, x)
    same = next(line for line in first.lines if line.get_label() == "b")
    assert steps.get_edgecolor()[:3] == to_rgb(same.get_color())
    assert [text.get_text() for text in second.texts] == ["p", "q", "r"]
    assert legend_of(figures[0]) == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"a: y must have as many values as x, .* got \(2,\), \(4,\)"):
        curves(tmp_path / "c.png", [Panel(lines(np.ones(4), {"a": np.ones(2)}), "x", "y")])


# ---- curves of tasks


def test_training_curve_smooths_and_counts_values_that_are_not_finite(tmp_path, figures):
    assert run_report.training_sections(tmp_path, "") == [Heading("Training")]
    loss = np.tile([1.0, 3.0], 50)
    loss[10], loss[51] = np.nan, -np.inf
    with MetricWriter(tmp_path) as writer:
        for step, value in enumerate(loss):
            writer.scalars(step, {"train/loss": value} | ({"held_out/loss": 2.0} if step in (0, 99) else {}))
    _, figure = run_report.training_sections(tmp_path, "a caption")
    assert figure == Figure(tmp_path / "training.png", "a caption")
    logged, mean, other = figures[0].axes[0].lines
    assert len(logged.get_xdata()) == 98
    assert "2 not finite" in logged.get_label()
    np.testing.assert_allclose(mean.get_ydata()[2:-2], 2.0, atol=0.21)  # 5 points of 1 and 3
    np.testing.assert_allclose(mean.get_ydata()[0], np.mean(loss[:3]))
    assert other.get_ydata().tolist() == [2, 2]
