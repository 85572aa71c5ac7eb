"""Every benchmark at its smallest setting, in this process, and the exact laws of what it computes."""

import json
import re

import jax
import numpy as np
import pytest
from programs import give, succeeds

from experiments.tasks.diffusion.fields import FLOW_MAPS


@pytest.fixture
def compilation_cache_as_before():
    name = "jax_enable_compilation_cache"
    before = getattr(jax.config, name)
    yield
    jax.config.update(name, before)


def rows_of(out, num):
    """The last rows of this name with so many numbers."""
    found = re.findall(rf"^(\S.*?)((?:  +-?\d[\d.e+-]*){{{num}}})$", out, re.MULTILINE)
    return {name: [*map(float, cells.split())] for name, cells in found}


@pytest.mark.slow
def test_quality_ranks_solvers():
    flags = ("--problems=ring", "--solvers=DDIM,AB3 flow,DDPM", "--grids=VP t^2", "--nfe=20", "--samples=16")
    out = succeeds("benchmarks.quality", *flags)
    errors = rows_of(out, 1)  # of the 90th percentile
    assert errors["AB3 flow [VP t^2]"][0] < 0.5 * errors["DDIM [VP t^2]"][0]
    assert errors["two exact sets"][0] < errors["DDPM [VP t^2]"][0]
    (line,) = re.findall(r"^rank at NFE 20 \(factor over the best\): (.*)$", out, re.MULTILINE)
    ranks = [re.sub(r" \[.*| [\d.]+$", "", pair) for pair in line.split(", ")]
    assert (set(ranks[:2]), ranks[2:]) == ({"recommended", "AB3 flow"}, ["DDIM"])


@pytest.mark.slow
def test_the_tabulated_sampler_is_compared_with_the_usual_ones():
    given = ("--table=few_steps", "--problems=four_modes_1d", "--nfe=5", "--samples=16", "--solvers=DDIM")
    errors = {name: row[0] for name, row in rows_of(succeeds("benchmarks.quality", *given), 1).items()}
    best = min(errors["DDIM [karras7 .002]"], errors["DDIM [flow t]"])
    assert errors["best strategy / tabulated"] == pytest.approx(best / errors["tabulated"], rel=0.1)
    assert errors["tabulated"] < errors["DDIM [flow t]"]


@pytest.mark.slow
def test_guidance_compares_the_rules(load_program, capsys, monkeypatch, tmp_path):
    module = load_program("experiments.benchmarks.guidance")
    monkeypatch.setattr(module, "RULES", {"CFG": module.RULES["CFG"]})
    give(scales="0,4", samples=40, steps=4, workdir=tmp_path / "plots")
    module.main(None)
    out = capsys.readouterr().out
    rows = re.findall(r"^(\S.*?) +(\d+)((?: +-?[\d.]+){7})$", out, re.MULTILINE)
    metrics = {(rule, int(scale)): [float(cell) for cell in cells.split()] for rule, scale, cells in rows}
    np.testing.assert_allclose(metrics["CFG", 4], metrics["classifier", 4], rtol=0.1, atol=0.05)  # both exact
    assert (tmp_path / "plots" / "mixture.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("compilation_cache_as_before")
def test_cost_of_a_config_has_both_sides_and_they_agree_with_one_another():
    flags = ["--config.network.features=8", "--config.network.blocks=1", "--config.training.batch_size=16"]
    flags += ["--config.sampling.batch_size=20", "--config.sampling.steps=2", "--turns=3"]
    out = succeeds("benchmarks.cost", "--config=experiments/configs/points/mixture_2d.py", *flags)
    rows = rows_of(out, 3)
    assert len(rows) == 6
    assert all(value > 0 for row in rows.values() for value in row)
    operations, peak = map(float, re.findall(r"^operations: (\S+) G a step, peak (\S+) T/s", out, re.M)[0])
    for side in range(2):
        seconds = rows["training step, ms"][side] / 1e3
        assert rows["training, examples/s at batch 16"][side] == pytest.approx(16 / seconds, rel=1e-2)
        share = 1e9 * operations / (seconds * 1e12 * peak) / jax.device_count()
        assert rows["utilisation, %"][side] == pytest.approx(100 * share, rel=1e-2)


@pytest.mark.slow
def test_every_method_of_few_steps_has_a_file_of_rows(ring_run, tmp_path):
    flags = ("--methods=lagrangian", "--seconds=0.05", "--num=16", "--seeds=2", "--steps=1", "--updates=2")
    succeeds("benchmarks.few_steps", f"--workdir={ring_run}", f"--out={tmp_path / 'few'}", *flags)
    (row,) = json.loads((tmp_path / "few" / "lagrangian.json").read_text())["rows"]
    assert row["calls"] == 1
    assert row["updates"] >= 2
    rows = json.loads((tmp_path / "few" / "teacher.json").read_text())["rows"]
    assert [row["calls"] for row in rows] == [50, 2, 2]
    assert all(error >= 0 for row in rows for _, error in row["metrics"].values())


def test_every_loss_of_a_config_can_be_compared_and_the_learning_rate_follows_the_time(load_program):
    few_steps = load_program("experiments.benchmarks.few_steps")
    assert {f"data_{name}" for name in FLOW_MAPS if name != "none"} <= {*few_steps.METHODS}
    assert [few_steps.rate(p) for p in (0.0, 1.0)] == [0.0, 0.0]
    assert max(few_steps.rate(p / 100) for p in range(101)) == few_steps.rate(0.05) > 0.99
