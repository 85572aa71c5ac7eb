"""Attacks on configs, checkpoints, command lines and processes: what is wrong is named, and no number is another.

``pytest -m slow tests/robustness`` tries a part of them, with ``--thorough`` all; ``--fuzz`` and ``--kills`` say how
many are tried at random. With ``-s`` each prints the number of its cases by verdict.
"""

from collections import Counter

import pytest
from robustness import command_lines, configs, damage, processes, together
from robustness.processes import bad

pytestmark = [
    pytest.mark.slow,
    # abandoned reads of damaged files, which are freed some time later
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("frozen_heap"),
]


def counted(cases):
    """The cases, after their number by verdict is printed."""
    cases = list(cases)
    print(f"{len(cases)} cases:", dict(Counter(case.verdict for case in cases)))
    return cases


def test_fields_outside_their_bounds_are_named():
    """More cases than the 2,220 of a time when every field of every choice stood in one list."""
    cases = counted(configs.by_bound())
    assert len(cases) > 2220
    assert [case for case in cases if case.verdict != "clear"] == []


def test_fields_at_random_are_named_or_allowed(fuzz, seed):
    assert bad(counted(configs.at_random(fuzz, seed))) == []


def test_damaged_checkpoints_are_never_used(saved, tmp_path, monkeypatch, is_thorough):
    if not is_thorough:
        monkeypatch.setattr(damage, "WAYS", {way: damage.WAYS[way] for way in ("half", "one byte flipped")})
    cases = counted(damage.checkpoints(saved, tmp_path))
    assert len(cases) > 20
    assert [case for case in cases if case.verdict == "silent"] == []


def test_damaged_checkpoints_of_a_run_are_named(thorough, tmp_path):
    workdir = tmp_path / "run"
    processes.start(*processes.TRAIN, f"--workdir={workdir}").communicate(timeout=600)
    assert bad(counted(damage.checkpoints(workdir, tmp_path))) == []


def test_two_processes_name_a_damaged_checkpoint_and_use_the_one_before(tmp_path, is_thorough):
    cases = counted(damage.checkpoints_of_two(tmp_path, tuple(damage.WAYS) if is_thorough else ("half",)))
    assert len(cases) > 15
    assert bad(cases) == []
    clear = {case.tried.split()[0] for case in cases if case.verdict == "clear"}
    assert {"extra/data.json", "state/manifest.ocdbt", "metrics/metrics"} <= clear


def test_mistakes_on_command_lines_are_named(thorough, tmp_path):
    assert bad(counted(command_lines.commands(tmp_path))) == []


def test_a_run_that_is_killed_ends_bit_equal_and_so_does_one_on_a_full_disk(thorough, tmp_path, kills, seed):
    assert bad(counted(processes.kills(tmp_path, max(kills, 3), seed))) == []
    assert bad(counted(processes.full_disk(tmp_path))) == []


def test_a_run_one_of_whose_processes_is_killed_loses_nothing(tmp_path, kills, seed):
    """The streamed batches, the state and the metrics are those of a run that was never killed; the other says why."""
    cases = counted(together.signals(tmp_path, kills, seed, kinds=("streaming data",), only_kills=True))
    assert ["before its first checkpoint" in cases[0].tried, "after a checkpoint" in cases[1].tried] == [True] * 2
    assert all(any(f"process {which}" in case.tried for case in cases) for which in range(2))
    assert [case.verdict for case in cases] == ["clear"] * kills, cases


def test_runs_one_of_whose_processes_is_killed_or_stopped_lose_nothing(thorough, tmp_path, kills, seed):
    assert bad(counted(together.signals(tmp_path, kills, seed))) == []
