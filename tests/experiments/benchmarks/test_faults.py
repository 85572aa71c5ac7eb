"""The attacks tell what is silent from what is clear, and a short version of them finds nothing."""

import warnings

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.benchmarks.faults import command_lines, configs, damage, processes
from experiments.benchmarks.faults.calls import Choice, Classes, Count, Data, Number, Shaped, attacks, attempt, call
from experiments.benchmarks.faults.tally import Case, table
from scorekit import training

# abandoned reads of damaged files, which are freed some time later
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("frozen_heap"),
]


def strict(x, scale, labels):
    if np.ndim(x) != 1 or not np.all(np.isfinite(x)) or np.size(x) == 0:
        raise ValueError(f"x must be a finite vector, got {x}")
    if not 0 < scale < np.inf:
        raise TypeError(f"scale must be > 0, got {scale}")
    if np.any(labels < 0) or np.any(labels > 1) or labels.dtype != int:
        raise ValueError("this goes wrong")
    return scale * x


def test_verdicts_of_calls():
    row = call(
        strict,
        x=Data(np.ones(2), {"integer": "integers count as floats"}),
        scale=Number(1.0, low=0.0),
        labels=Classes(np.array([0, 1]), num_classes=2),
    )
    found = {(a.argument, a.name): attempt(row, a).verdict for a in attacks(row)}
    assert found == {
        ("x", "shape"): "clear",
        ("x", "integer"): "documented",
        ("x", "empty"): "clear",
        ("x", "nan"): "clear",
        ("scale", "below"): "clear",
        ("scale", "nan"): "clear",
        ("scale", "inf"): "clear",
        ("scale", "text"): "obscure",
        ("scale", "complex"): "silent",  # numpy compares the real part
        ("labels", "negative"): "obscure",
        ("labels", "too large"): "obscure",
        ("labels", "fraction"): "obscure",
    }
    careless = call(
        lambda x, n, name, mask: np.nansum(x), x=Data(np.ones(2)), n=Count(1), name=Choice("a"), mask=Shaped(1)
    )
    assert {attempt(careless, a).verdict for a in attacks(careless)} == {"silent"}
    passed_on = call(lambda x: np.float32(np.real(x)) * 2.0, x=Number(1.0, {"text": "no"}))
    found = {a.name: attempt(passed_on, a).verdict for a in attacks(passed_on)}
    assert found == {"nan": "documented", "inf": "documented", "text": "obscure", "complex": "silent"}


def test_the_table_counts_and_lists_what_is_bad():
    cases = [Case("a", "x", "clear", ""), Case("a", "y", "silent", "1.0"), Case("b", "z", "obscure", "what")]
    lines = table(cases).splitlines()
    assert lines[1].split() == ["a", "2", "1", "0", "0", "1"]
    assert lines[3].split() == ["all", "3", "1", "0", "1", "1"]
    assert lines[4] == "clear or documented: 33.3 %"
    assert lines[5:] == ["silent   a: y -> 1.0", "obscure  b: z -> what"]


@pytest.mark.slow
def test_malformed_configs_are_clear():
    cases = [*configs.by_range(), *configs.at_random(60)]
    assert len(cases) > 1000
    bad = [case for case in cases if case.verdict not in ("clear", "documented")]
    assert bad == []
    assert all(case.verdict == "clear" for case in cases if case.part == "ranges")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    params = {"kernel": jnp.arange(12.0).reshape(3, 4)}
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        for step in (1, 2):
            state = training.init_state(jnp.array([0, 1], jnp.uint32), params, optax.sgd(0.1), ())
            checkpoints.save(step, state)
            checkpoints.wait()
    return folder


@pytest.mark.slow
def test_damaged_checkpoints_are_never_used(run, tmp_path, monkeypatch):
    monkeypatch.setattr(damage, "WAYS", {way: damage.WAYS[way] for way in ("half", "one byte flipped")})
    cases = list(damage.checkpoints(run, tmp_path))
    assert len(cases) > 20
    assert [case for case in cases if case.verdict == "silent"] == []


@pytest.mark.slow
def test_two_processes_name_a_damaged_checkpoint_and_use_the_one_before(tmp_path):
    cases = list(damage.checkpoints_of_two(tmp_path, ("half",)))
    assert len(cases) > 15
    assert [case for case in cases if case.verdict not in ("clear", "documented")] == []
    clear = {case.tried.split()[0] for case in cases if case.verdict == "clear"}
    assert {"extra/metadata", "state/manifest.ocdbt", "metrics/metrics"} <= clear


def test_two_processes_that_disagree_are_silent():
    steps = {(1, 1): "clear", (2, 2): "documented", (1, 2): "silent", (-2, -2): "silent", (-1, 1): "silent"}
    assert {pair: damage.verdict_of_two([*pair], True) for pair in steps} == steps
    assert damage.verdict_of_two([1, 1], False) == "silent"
    assert damage.verdict_of_two([-1, -1], False) == "obscure"


def test_damage_is_seen_where_reading_does_not_validate(run, tmp_path, monkeypatch):
    """Another value, and an earlier step without a warning, are silent."""
    exact = damage._read(run / "checkpoints", 1)
    truth = {1: exact, 2: damage._read(run / "checkpoints", 2)}
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
    assert {"latents.cascade", "ood.detect", "audio.vocode"} <= set(found)


def test_mistakes_attack_the_flags_of_a_program(tmp_path):
    own = {"workdir": "string", "step": "int", "labels": "comma separated list of strings", "noise": "float"}
    found = [mistake for mistake, _ in command_lines.mistakes("audio.silence", own, tmp_path)]
    assert {"--step=-1", "--noise=nan", "--nonsense=1", f"--workdir={tmp_path}/digits"} <= set(found)
    assert not any(mistake.startswith("--labels") for mistake in found)
    assert command_lines.valid("audio.silence", tmp_path) == [f"--workdir={tmp_path}/notes"]
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
    assert processes.verdict(process, "commands", code, ("--steps",)).verdict == expected
    assert process.poll() is not None
