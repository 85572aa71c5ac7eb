"""Each attack tells what is silent from what is clear."""

import warnings

import pytest
from robustness import command_lines, damage, processes


def test_two_processes_that_disagree_are_silent():
    steps = {(1, 1): "clear", (2, 2): "documented", (1, 2): "silent", (-2, -2): "silent", (-1, 1): "silent"}
    assert {pair: damage.verdict_of_two([*pair], True) for pair in steps} == steps
    assert damage.verdict_of_two([1, 1], False) == "silent"
    assert damage.verdict_of_two([-1, -1], False) == "obscure"


def test_damage_is_seen_where_reading_does_not_validate(saved, tmp_path, monkeypatch):
    """Another value, and an earlier step without a warning, are silent."""
    exact = damage._read(saved / "checkpoints", 1)
    truth = {1: exact, 2: damage._read(saved / "checkpoints", 2)}
    monkeypatch.setattr(damage, "_read", lambda *_: (2, [leaf + 1 for leaf in exact[1]]))
    assert damage._verdict("x", tmp_path, truth).verdict == "silent"
    monkeypatch.setattr(damage, "_read", lambda *_: (1, exact[1]))
    assert damage._verdict("x", tmp_path, truth).verdict == "silent"

    def warned(*_):
        warnings.warn(f"{tmp_path} is damaged", stacklevel=1)
        return 1, exact[1]

    monkeypatch.setattr(damage, "_read", warned)
    assert damage._verdict("x", tmp_path, truth).verdict == "clear"


def test_programs_are_found():
    found = command_lines.programs()
    assert {"train", "sample", "evaluate", "edit", "tune"} <= set(found)
    assert {"tasks.latents.cascade", "projects.ood.detect", "projects.audio.sound.vocode"} <= set(found)


def test_mistakes_attack_the_flags_of_a_program(tmp_path):
    own = {"workdir": "string", "step": "int", "labels": "comma separated list of strings", "noise": "float"}
    found = [mistake for mistake, _ in command_lines.mistakes("projects.audio.sound.evaluate_notes", own, tmp_path)]
    assert {"--step=-1", "--noise=nan", "--nonsense=1", f"--workdir={tmp_path}/digits"} <= set(found)
    assert not any(mistake.startswith("--labels") for mistake in found)
    assert command_lines.valid("projects.audio.sound.evaluate_notes", tmp_path) == [f"--workdir={tmp_path}/notes"]
    assert command_lines.valid("train", tmp_path)[1] == f"--workdir={tmp_path}/new"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit('error: --steps=0')", "clear"),
        ("import sys; sys.exit('error: something')", "obscure"),
        ("raise ValueError('--steps')", "obscure"),
        ("pass", "silent"),
        ("import time; time.sleep(60)", "obscure"),
    ],
)
def test_verdicts_of_processes(monkeypatch, code, expected):
    monkeypatch.setattr(processes, "LIMIT", 1.0 if "sleep" in code else 60.0)
    process = processes.start(f"{code}\n")
    assert processes.verdict(process, code, ("--steps",)).verdict == expected
    assert process.poll() is not None
