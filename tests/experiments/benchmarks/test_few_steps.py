"""Few steps: models at equal time, students and their teachers on sounds, and rows that are kept."""

import importlib
import json
import re

import numpy as np
import pytest
from programs import give, save_untrained
from sound_sets import tones

from experiments.benchmarks.few_steps import budget, methods, rows
from experiments.benchmarks.few_steps.of_notes import best
from experiments.cli.config import ConfigError, save_resolved
from experiments.configs import base
from experiments.configs.notes import flow_map_notes, notes_smoke, vocoder, vocoder_student
from experiments.evaluation.kept_rows import KeptRows, check_names
from experiments.models import flow_map_losses
from experiments.models.run_files import fields_of
from experiments.training import students
from scorekit import data


@pytest.fixture
def program(load_program, monkeypatch):
    monkeypatch.setattr(data, "load_notes", tones)
    return load_program("experiments.benchmarks.few_steps.__main__")


@pytest.fixture
def compare(program, ring_run):
    """Runs the program with these flags."""

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
    with pytest.raises(ConfigError, match=r"--methods=lagrange: must be some of .*did you mean lagrangian"):
        compare(tmp_path / "new", methods="lagrange")
    assert not (tmp_path / "new").exists()


STUDENTS = {
    "consistency_notes": "flow_map_notes_teacher",
    "flow_map_notes": "flow_map_notes_teacher",
    "vocoder_mean_flow": "vocoder",
    "vocoder_student": "vocoder",
}


def config_of(name):
    return importlib.import_module(f"experiments.configs.notes.{name}").get_config()


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


def test_rows_of_another_run_of_the_same_name_are_named(tmp_path):
    path = tmp_path / "rows.json"
    KeptRows(path, {}).row("a", lambda: {"error": 1.0}, tmp_path / "one" / "student")
    again = KeptRows(path, {})
    assert again.row("a", lambda: {"error": 2.0}, tmp_path / "one" / "student") == {"error": 1.0}
    with pytest.raises(ConfigError, match=r"its row 'a' is of .*one/student, not of .*two/student; move it away"):
        again.row("a", lambda: {"error": 2.0}, tmp_path / "two" / "student")
    with pytest.raises(ConfigError, match=r"--students: must be folders of different names, got .*one/a and .*two/a"):
        check_names("--students", [tmp_path / "one" / "a", tmp_path / "one" / "b", tmp_path / "two" / "a"])


def saved_config(folder, config):
    folder.mkdir(parents=True)
    save_resolved(config, folder / "config.json")
    return folder


@pytest.mark.parametrize(
    ("table", "teacher", "student", "field", "value"),
    [
        ("notes", "flow_map_notes_teacher", "flow_map_notes", "name", "soundfont_notes/8khz"),
        ("notes", "flow_map_notes_teacher", "flow_map_notes", "train_split", "train[:10%]"),
        ("vocoders", "vocoder", "vocoder_student", "test_split", "train"),
        ("vocoders", "vocoder", "vocoder_student", "map.num_mels", 40),
    ],
)
def test_students_of_other_data_are_named(program, tmp_path, table, teacher, student, field, value):
    config = config_of(student)
    config.data.update_from_flattened_dict({field: value})
    one, two = (saved_config(tmp_path / n, c) for n, c in (("one", config_of(teacher)), ("two", config)))
    give(table=table, workdir=one, students=two)
    words = rf"--students=.*two: must be of the data of .*one, config.data.{field}=.*; it has {re.escape(str(value))}"
    with pytest.raises(ConfigError, match=words):
        program.main(base.saved(str(one)))


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_has_the_network_of_its_teacher(name):
    student, teacher = (fields_of(config_of(each)) for each in (name, STUDENTS[name]))
    differ = {field for field in {*student, *teacher} if student.get(field) != teacher.get(field)}
    own = ("loss.flow_map.", "loss.times.", "data.representation.iterations")
    assert not [field for field in differ if not field.startswith(own)]
    assert teacher["preconditioning.noise.name"] == "clock"
    assert config_of(name).sampling.ema == config_of(STUDENTS[name]).sampling.ema


def tiny(config):
    """A config with a small network, whose weights are saved without an average."""
    config.data.train_split, config.data.test_split = "train", "test"
    config.network.update(channels=8, multipliers=(1,), factors=(), patch=4)
    config.sampling.update(batch_size=8, ema="none")
    return config


@pytest.mark.slow
def test_vocoders_are_compared_with_griffin_lim_and_the_rows_are_kept(program, tmp_path):
    teacher, student = vocoder.get_config(), vocoder_student.get_config()
    for config in (teacher, student):
        config.data.crop = 512
    one = save_untrained(tmp_path / "one", tiny(teacher))
    two = save_untrained(tmp_path / "two", tiny(student))
    sizes = {"steps": "2", "iterations": "4", "baseline": "8", "num": "4", "shown": "2", "repeats": "1"}
    give(table="vocoders", workdir=one, students=two, **sizes)
    program.main(base.saved(str(one)))
    kept = json.loads((one / "few_steps" / "rows.json").read_text())["rows"]
    assert list(kept) == ["Griffin-Lim, 8", "Griffin-Lim, 16", "one at 1, 2 steps, 4", "two at 1, 2 steps, 4"]
    for row in kept.values():
        assert all(np.isfinite(value) for value in row.values())
    loss = {name: row["multi-resolution STFT loss"] for name, row in kept.items()}
    assert loss["Griffin-Lim, 8"] < loss["two at 1, 2 steps, 4"]
    assert (one / "few_steps" / "report.html").read_text().count("<audio") == 2 * (1 + len(kept))
    program.main(base.saved(str(one)))
    assert json.loads((one / "few_steps" / "rows.json").read_text())["rows"] == kept  # times too: nothing ran again
    config = base.saved(str(one))
    config.sampling.steps = 9
    with pytest.raises(ConfigError, match=r"rows.json: holds rows of {'config': {}}, not of {'config': {'sampling"):
        program.main(config)


@pytest.mark.slow
def test_notes_of_a_flow_map_are_compared_with_those_of_its_teacher(program, tmp_path):
    teacher, student = notes_smoke.get_config(), flow_map_notes.get_config()
    student.data.update(name=teacher.data.name, map={"name": "none"}, peak=None)
    student.network.update({field: None for field in ("filters", "grid", "conditioning_layers")})
    student.data.representation = teacher.data.representation
    one = save_untrained(tmp_path / "one", tiny(teacher))
    two = save_untrained(tmp_path / "two", tiny(student))
    give(table="notes", workdir=one, students=two, steps="2", solvers="euler", many="6", num="12", shown="2")
    program.main(base.saved(str(one)))
    rows = json.loads((one / "few_steps" / "rows.json").read_text())["rows"]
    assert [row["evaluations"] for row in rows.values()] == [None, 2, 2, 5, 6, 2]
    assert rows["real held-out notes"]["pitch"] == 1.0


def test_of_the_samplers_of_a_teacher_the_closest_has_a_row():
    row = lambda of, n, distance: {"of": of, "evaluations": n, "Fréchet distance": distance}
    rows = {
        "real": row("data", None, 1.0),
        "a": row("teacher", 2, 3.0),
        "b": row("teacher", 2, 2.0),
        "c": row("teacher", 2, 2.0),
        "d": row("teacher", 4, 5.0),
        "map": row("student", 2, 9.0),
    }
    assert list(best(rows)) == ["real", "b", "d", "map"]
    assert best(rows)["b"] == {"evaluations": 2, "Fréchet distance": 2.0}
