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
