"""The devices at hand measured step by step, and the cores that feed a planned step."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from programs import succeeds

from experiments.benchmarks.cost import at_hand, input
from experiments.cli.command_line import load_config
from experiments.planning.bounds import Cost
from experiments.planning.chips import Chip, Topology, topology
from experiments.planning.plans import Plan

CONFIGS = Path(__file__).parents[3] / "experiments" / "configs"
POINTS = str(CONFIGS / "points" / "mixture_2d.py")


def test_steps_take_forty_minutes_in_all_and_are_all_large_recipes(tmp_path):
    *lines, total = succeeds("benchmarks.device", f"--out={tmp_path}", "--list").splitlines()
    minutes = {line.split()[0]: float(line.split()[1]) for line in lines}
    large = [*CONFIGS.glob("published/[a-z]*.py"), *CONFIGS.glob("*/*_gpu.py")]
    assert set(minutes) == {"speeds", "attention"} | {f"{path.parent.name}/{path.stem}" for path in large}
    assert float(total.split()[0]) == sum(minutes.values()) <= 40
    assert max(minutes.values()) <= 10


@pytest.mark.slow
def test_a_finished_step_is_not_repeated_and_a_failed_one_is_a_row(tmp_path):
    succeeds("benchmarks.device", f"--out={tmp_path}", "--list")
    done = {"rows": [["products", "1", "2"]], "done": True, "error": "", "device": "kept"}
    for step in ("speeds", "attention"):
        (tmp_path / f"{step}.json").write_text(json.dumps(done))
    flags = [f"--out={tmp_path}", f"--configs={CONFIGS}/images/smoke.py,{tmp_path}/nothing.py"]
    out = succeeds("benchmarks.device", *flags)
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("|")]
    training, sampling = (row for row in rows if row[0] == "images/smoke")
    assert [training[1:3], sampling[1:3]] == [["training", "8"], ["sampling", "20"]]
    milliseconds = float(training[3].removesuffix(" ms"))
    assert float(training[6]) == pytest.approx(8 / milliseconds * 1e3, rel=0.02)
    (failed,) = (row for row in rows if row[0].endswith("/nothing"))
    assert "no such config file" in failed[1]
    assert out.count("| products | 1 | 2 |") == 2
    assert (tmp_path / "table.md").read_text() in out
    written = (tmp_path / "images" / "smoke.json").stat().st_mtime_ns
    again = succeeds("benchmarks.device", *flags)
    assert "images/smoke: done" not in again
    assert (tmp_path / "images" / "smoke.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    config = load_config(POINTS)
    config.update_from_flattened_dict({"network.features": 16, "network.blocks": 1, "sampling.steps": 2})
    chip = Chip("cpu", (), 1e10, np.inf, 1e9, 1.0, 1.0, 1, (), 1.0)
    monkeypatch.setattr(at_hand, "topology", lambda: Topology("a chip", chip, str(jax.device_count()), 1))
    memory = []
    monkeypatch.setattr(at_hand, "size", lambda count: memory.append(count) or "")
    full = next(at_hand.recipe(config, "points"))
    batch = config.training.batch_size
    assert full[2] == f"{batch:,}"
    chip = chip._replace(memory=0.6 * memory[0])
    less = next(at_hand.recipe(config, "points"))
    assert less[2] in (f"{batch // 2:,} of {batch:,}", f"{batch // 4:,} of {batch:,}")
    assert memory[1] <= chip.memory
    chip = chip._replace(memory=1.0)
    assert next(at_hand.recipe(config, "points"))[2].endswith("does not fit")


def test_cores_that_feed_a_step():
    """Of 1e12 operations an example, sixteen chips of 197 T/s do 3,152 a second; 40 % of it are 1,260.8."""
    cost = Cost(0, 0, 0, 0, 256e12, None, {}, {}, 0, 256, 1, 1, 0.0)
    plan = Plan(load_config(f"{CONFIGS}/published/imagenet256_dit.py"), topology("v5e:4x4"), {"training": cost})
    both = "3.15 k/s at its bound, which 32 cores feed, and 1.26 k/s at 40% of it, which 13 cores feed"
    assert input.sentence(100.0, plan) == f"v5e:4x4 takes {both}"
    assert input.sentence(1261.0, plan).endswith("which 3 cores feed, and 1.26 k/s at 40% of it, which 1 core feeds")
    large = plan._replace(costs={"training": cost._replace(needed=1e12)})
    assert input.sentence(100.0, large) == "v5e:4x4: does not fit"


@pytest.mark.slow
def test_a_core_delivers_pictures_of_both_kinds_of_files(monkeypatch):
    monkeypatch.setattr(input, "SECONDS", 0.1)
    monkeypatch.setitem(input.SIDES, "JPEG", 64)
    out = succeeds("benchmarks.cost", "--table=input", f"--recipes={CONFIGS}/published/imagenet64_adm.py")
    kinds = [line.split(":")[0] for line in out.splitlines()]
    assert kinds == [
        *(f"{kind} in {file}" for kind in ("JPEG of 64 x 64", "PNG of 32 x 32") for file in ("tar", "array_record")),
        "imagenet64_adm",
    ]
    assert "0/s" not in [line.split()[-3] for line in out.splitlines()]
