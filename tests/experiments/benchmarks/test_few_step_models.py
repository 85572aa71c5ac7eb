"""The comparison of models of few steps: it trains for its time, keeps its rows, and goes on where it was stopped."""

import json

import pytest
from programs import give

from experiments.benchmarks.few_steps import budget, methods, rows
from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.models import flow_map_losses
from experiments.training import students

PROGRAM = "experiments.benchmarks.few_steps.__main__"


@pytest.fixture
def compare(load_program, ring_run):
    """Runs the program with these flags."""
    program = load_program(PROGRAM)

    def main(folder, changes=(), **given):
        give(table="methods", workdir=ring_run, out=folder, **given)
        config = base.saved(str(ring_run))
        config.update_from_flattened_dict(dict(changes))
        program.main(config)

    return main


@pytest.mark.slow
def test_rows_are_kept_and_the_rest_is_made(compare, tmp_path, capsys):
    flags = {"seconds": 0.05, "num": 16, "seeds": 2, "steps": "1", "updates": 0}
    compare(tmp_path, methods="lagrangian", **flags)
    path = tmp_path / "lagrangian.json"
    first = json.loads(path.read_text())
    assert first["rows"][0]["calls"] == 1
    assert first["rows"][0]["updates"] >= 2
    teacher = json.loads((tmp_path / "teacher.json").read_text())
    assert teacher["facts"]["updates"] == 0
    assert teacher["facts"]["config"] == {}
    found = teacher["rows"]
    assert [row["calls"] for row in found] == [50, 2]
    assert all(error >= 0 for row in found for _, error in row["metrics"].values())
    first["rows"][0]["updates"] = 777
    path.write_text(json.dumps(first))
    compare(tmp_path, methods="lagrangian", **flags)
    assert json.loads(path.read_text()) == first  # kept, not trained again
    assert "777" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"teacher.json: holds rows of {'config': {}}, not of {'config': {'sampling"):
        compare(tmp_path, {"sampling.steps": 7}, methods="lagrangian", **flags)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"updates": 150}, r"teacher.json: holds rows of {'updates': 0}, not of {'updates': 150}; move it away"),
        ({"config": {"sampling.solver.name": "euler"}}, r"holds rows of {'config': {}}, not of {'config': {'sampl"),
    ],
)
def test_rows_of_other_facts_are_not_taken_for_these_nor_overwritten(tmp_path, facts, words):
    before = {"step": 1, "updates": 0, "config": {}}
    assert rows.kept(tmp_path, "teacher", before, lambda: [{"steps": 1}]) == [{"steps": 1}]
    with pytest.raises(ConfigError, match=words):
        rows.kept(tmp_path, "teacher", {**before, **facts}, lambda: [{"steps": 2}])
    assert rows.kept(tmp_path, "teacher", before, lambda: [{"steps": 2}]) == [{"steps": 1}]


def test_every_loss_of_a_config_and_every_student_can_be_compared():
    losses = {f"data_{name}" for name in flow_map_losses.LOSSES if name != "none"}
    assert {*losses, *students.SECTIONS} <= {*methods.METHODS}


def test_learning_rate_rises_and_falls_with_the_time():
    assert [budget.rate(p) for p in (0.0, 1.0)] == [0.0, 0.0]
    assert max(budget.rate(p / 100) for p in range(101)) == budget.rate(0.05) > 0.99


def test_unknown_methods_are_named(compare, tmp_path):
    with pytest.raises(ConfigError, match="--methods=lagrange: must be some of eulerian, lagrangian"):
        compare(tmp_path, methods="lagrange")
