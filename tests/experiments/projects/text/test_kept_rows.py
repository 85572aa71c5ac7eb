"""Rows of a table that a stopped program goes on with."""

import pytest

from experiments.cli.config import ConfigError
from experiments.projects.text.kept_rows import KeptRows


def test_rows_are_computed_once_and_kept_with_their_settings(tmp_path):
    path, calls = tmp_path / "rows.json", []

    def compute(value):
        calls.append(value)
        return {"error": value}

    KeptRows(path, {"seed": 0}).row("a", lambda: compute(1.0))
    again = KeptRows(path, {"seed": 0})
    again.row("b", lambda: compute(2.0))
    assert again.row("a", lambda: compute(3.0)) == {"error": 1.0}
    assert list(again.rows()) == ["b", "a"]
    assert calls == [1.0, 2.0]
    with pytest.raises(ConfigError, match=r"holds rows of \{'seed': 0\}, not of \{'seed': 1\}"):
        KeptRows(path, {"seed": 1})
