"""The benchmarks run: at their tiniest setting, in this process."""

import importlib
import re
import sys

import pytest
from absl import flags

PACKAGE = "experiments.benchmarks"


@pytest.fixture
def program(monkeypatch, capsys):
    """Runs a benchmark with some flags and returns what it printed.

    Each is a program of its own and two may name a flag alike, so those of the others are put aside meanwhile.
    """
    before = {name: list(found) for name, found in flags.FLAGS.flags_by_module_dict().items() if PACKAGE in name}
    for flag in (flag for found in before.values() for flag in found):
        delattr(flags.FLAGS, flag.name)
    loaded = []

    def run(name, **given):
        monkeypatch.delitem(sys.modules, f"{PACKAGE}.{name}", raising=False)
        module = importlib.import_module(f"{PACKAGE}.{name}")
        loaded.append(module.__name__)
        for flag, value in given.items():
            flags.FLAGS[flag].parse(value)
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        module.main(None)
        return capsys.readouterr().out

    yield run
    for name in loaded:
        sys.modules.pop(name, None)
        for flag in list(flags.FLAGS.flags_by_module_dict().get(name, ())):
            delattr(flags.FLAGS, flag.name)
    for name, found in before.items():
        for flag in found:
            flags.FLAGS[flag.name] = flag
            flags.FLAGS.register_flag_by_module(name, flag)


def test_quality_ranks_the_solvers_and_draws(program, tmp_path):
    out = program(
        "quality", problems="ring", solvers="DDIM,AB3 flow,DDPM", grids="VP t^2", nfe="20", samples="16", peers="0",
        workdir=str(tmp_path),
    )  # fmt: skip
    rows = re.findall(r"^(.*) \[VP t\^2\] +(.*) \|", out, re.MULTILINE)
    errors = {solver: [float(cell) for cell in cells.split()] for solver, cells in rows}
    assert errors["AB3 flow"][0] < 0.5 * errors["DDIM"][0]
    assert "rank at NFE 20 (factor over the best cell): AB3 flow [VP t^2] 1.00, DDIM [VP t^2]" in out
    assert "sliced Wasserstein distance" in out
    assert out.splitlines()[-1] == f"plot: {tmp_path / 'quality.png'}"
    assert (tmp_path / "quality.png").stat().st_size > 1000


def test_cost_agrees_with_the_samplers_by_hand_and_draws(program, tmp_path):
    out = program(
        "cost", solvers="AB3 flow", closely="", steps="2", batches="4", large="4", turns="1", first="1", unet="0",
        workdir=str(tmp_path),
    )  # fmt: skip
    assert re.findall(r"^(\S+(?: \S+)*)  .* s\) ", out, re.MULTILINE) == ["AB3 flow"]
    assert out.splitlines()[-1] == f"plot: {tmp_path / 'cost.png'}"
    assert (tmp_path / "cost.png").stat().st_size > 1000
