"""Few steps: models at equal time."""

import json

import pytest
from programs import give

from experiments.benchmarks.few_steps import budget, methods
from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.training import students


@pytest.fixture
def compare(load_program, ring_run):
    """Runs the program with these flags."""
    program = load_program("experiments.benchmarks.few_steps.__main__")

    def main(folder, **given):
        give(table="methods", workdir=ring_run, out=folder, **given)
        program.main(base.saved(str(ring_run)))

    return main


@pytest.mark.slow
def test_every_method_has_a_file_of_rows(compare, tmp_path):
    compare(tmp_path, methods="lagrangian", seconds=0.05, num=16, seeds=2, steps="1", updates=0)
    (row,) = json.loads((tmp_path / "lagrangian.json").read_text())["rows"]
    assert row["calls"] == 1
    assert row["updates"] >= 2
    rows = json.loads((tmp_path / "teacher.json").read_text())["rows"]
    assert [row["calls"] for row in rows] == [50, 2]
    assert all(error >= 0 for row in rows for _, error in row["metrics"].values())


def test_every_loss_of_a_config_and_every_student_can_be_compared():
    losses = {f"data_{name}" for name in choices.FLOW_MAPS if name != "none"}
    assert {*losses, *students.SECTIONS} <= {*methods.METHODS}


def test_learning_rate_rises_and_falls_with_the_time():
    assert [budget.rate(p) for p in (0.0, 1.0)] == [0.0, 0.0]
    assert max(budget.rate(p / 100) for p in range(101)) == budget.rate(0.05) > 0.99


def test_unknown_methods_are_named(compare, tmp_path):
    with pytest.raises(ConfigError, match=r"--methods=lagrange: must be some of .*did you mean lagrangian"):
        compare(tmp_path / "new", methods="lagrange")
    assert not (tmp_path / "new").exists()
