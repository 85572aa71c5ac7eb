"""Training from a shell: what a run writes, how it is stopped and resumed, and errors before anything is compiled."""

import json
import random
import shutil
import signal
import time

import chex
import numpy as np
import pytest
from programs import POINTS, end, fails, given, newest, overridden, run, start, succeeds, wait_until
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.training.hooks import SPEED
from experiments.training.writers import read_metrics

STEPS, EVERY = 12, 4
MANY, OFTEN = 1000, 200  # of the processes that are stopped
TINY = """
    training.warmup_steps=5 training.log_every=5 training.sample_every=1000000 training.keep=3
    training.power_ema=0.05,0.1 sampling.steps=2 sampling.batch_size=64 sampling.guidance_scale=1
    evaluation.num_samples=64 evaluation.guidance_scales=1 evaluation.bound_times=2
"""


def train_arguments(workdir, steps=STEPS, every=EVERY):
    counts = f"training.steps={steps} training.checkpoint_every={every}"
    return [*POINTS, *overridden(f"{TINY} {counts}"), f"--workdir={workdir}"]


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Starts a training of many steps in a process; all such processes share compiled programs."""
    cache = str(tmp_path_factory.mktemp("cache"))
    return lambda workdir, every: start(
        "train",
        *train_arguments(workdir, MANY, every),
        JAX_COMPILATION_CACHE_DIR=cache,
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    )


def assert_same_run(one, other, steps=STEPS, without=None):
    """The same parameters, snapshots and metrics, but for the line of the step ``without``."""
    (step, params), (other_step, others) = newest(one), newest(other)
    assert step == other_step == steps
    chex.assert_trees_all_equal(params, others)
    complete = "[!.]*"  # a process that is killed while it writes leaves a part of a file, which is hidden and not read
    snapshots, others = (sorted((d / "snapshots").glob(complete)) for d in (one, other))
    assert [path.name for path in snapshots] == [path.name for path in others]
    for a, b in zip(snapshots, others, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    lines = lambda folder: [row for row in read_metrics(folder / "metrics.jsonl") if row["step"] != without]
    timeless = lambda row: {name: value for name, value in row.items() if name not in ("time", SPEED)}
    assert [*map(timeless, lines(one))] == [*map(timeless, lines(other))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run: its folder, output and errors."""
    workdir = tmp_path_factory.mktemp("runs") / "full"
    code, out, err = run("train", *train_arguments(workdir))
    assert code == 0, err
    return workdir, out, err


@pytest.fixture(scope="module")
def uninterrupted(started, tmp_path_factory):
    """The folder of a longer run in a process of its own."""
    workdir = tmp_path_factory.mktemp("runs") / "long"
    code, out, err = end(started(workdir, OFTEN))
    assert code == 0, err
    assert "devices" in out.splitlines()[0]
    assert all(line.startswith(("training ", "sampling ", "bound ")) for line in err.splitlines()), err
    return workdir


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that run, to change."""
    return shutil.copytree(finished[0], tmp_path / "copy")


@pytest.mark.slow
def test_a_run_writes_its_report_metrics_and_pictures(finished):
    workdir, out, err = finished
    assert all(line.startswith(("training ", "sampling ", "bound ")) for line in err.splitlines()), err
    for name in (
        "config.json",
        "metrics.jsonl",
        "evaluation.json",
        "report.html",
        "samples.png",
        "guidance.png",
        "training.png",
        "loss_by_noise_level.png",
    ):
        assert (workdir / name).stat().st_size > 0, name
    rows = [row for row in read_metrics(workdir / "metrics.jsonl") if "train/loss" in row]
    falling = [0.01 + 0.495 * (1 + np.cos(np.pi * part)) for part in (4 / 7, 6 / 7)]  # of 7 steps after the warm-up
    assert [row["train/learning_rate"] for row in rows] == pytest.approx([2e-3 * x for x in (1.0, *falling)], rel=1e-4)
    assert all(row[SPEED] > 0 for row in rows)
    events = EventAccumulator(str(workdir / "tensorboard"))
    events.Reload()
    assert {"samples", "guidance", "loss_by_noise_level"} <= set(events.Tags()["images"])
    assert [event.step for event in events.Scalars("train/loss")] == [5, 10, 12], "pictures of the end hide nothing"
    assert "devices" in out.splitlines()[0]
    assert str(workdir / "report.html") in out.splitlines()[-1]
    metrics = json.loads((workdir / "evaluation.json").read_text())
    assert 0 <= metrics["γ = 1/class accuracy"] <= 1
    report = (workdir / "report.html").read_text()
    assert "<img" in report
    assert "<dt>seed</dt>" in report
    assert "Real test data: 2,000 examples; samples: " in report


@pytest.mark.slow
def test_any_width_is_evaluated_and_guided_by_a_narrower_average_of_an_earlier_step(copied):
    """The checkpoint of step 6 does not exist: its averages are those of the snapshots."""
    (copied / "samples").mkdir(exist_ok=True)
    narrow = "guidance=autoguidance sampling.guidance_scale=2 rules.autoguidance.ema=power_0.05"
    given, drawn = overridden(f"{narrow} sampling.ema=power_0.08"), []
    for earlier in ([], ["--config.rules.autoguidance.step=6"], ["--step=6"]):
        out = succeeds("sample", f"--workdir={copied}", "--num=7", "--labels=1,2", *given, *earlier)
        with np.load(copied / "samples" / "sample.npz") as archive:
            drawn.append(archive["x"])
            assert archive["label"].tolist() == [1, 2, 1, 2, 1, 2, 1]
    assert "step 6 at γ = 2" in out
    assert all(np.abs(drawn[i] - drawn[i - 1]).max() > 1e-4 for i in range(3))
    bits = []
    for width in ("0.05", "0.08"):
        succeeds("evaluate", f"--workdir={copied}", f"--config.sampling.ema=power_{width}", f"--out={copied}/{width}")
        bits.append(json.loads((copied / f"{width}.json").read_text())["bound/bits per dim"])
    assert bits[0] != bits[1]
    shutil.rmtree(copied / "snapshots")
    error = fails("evaluate", f"--workdir={copied}", "--config.sampling.ema=power_0.05", at_once=False)
    assert "no snapshots of averages in" in error


@pytest.mark.slow
def test_evaluate_reproduces_the_evaluation_of_training(copied):
    succeeds("evaluate", f"--workdir={copied}")
    again = json.loads((copied / f"evaluation_{STEPS}.json").read_text())
    assert again == json.loads((copied / "evaluation.json").read_text())


@pytest.mark.slow
def test_a_run_is_not_continued_with_another_config(finished):
    err = fails("train", *train_arguments(finished[0]), "--config.training.learning_rate=0.5")
    assert "config.training.learning_rate=0.5: the run in" in err
    written = (finished[0] / "config.json").read_text()
    err = fails("train", *train_arguments(finished[0], STEPS - 1))
    assert f"config.training.steps={STEPS - 1}: must be at least {STEPS}, the steps that the run in" in err
    assert (finished[0] / "config.json").read_text() == written


@pytest.mark.slow
def test_a_run_that_is_stopped_and_killed_at_any_moment_ends_as_one_that_was_not(uninterrupted, started, tmp_path):
    """SIGTERM while it trains, SIGKILL while it trains, and SIGKILL in its evaluation."""
    workdir, rng, stopped = tmp_path / "killed", random.Random(0), None
    path = workdir / "metrics.jsonl"
    for number, first, last in ((signal.SIGTERM, 100, 300), (signal.SIGKILL, 500, 800), (signal.SIGKILL, MANY, MANY)):
        process, least = started(workdir, OFTEN), rng.randint(first, last)
        wait_until(lambda: path.exists() and any(row["step"] >= least for row in read_metrics(path)), process)  # noqa: B023
        time.sleep(rng.uniform(0.0, 2.0 if first == last else 0.1))
        process.send_signal(number)
        code, out, err = end(process)
        if number == signal.SIGTERM:
            stopped, _ = newest(workdir)
            assert (code, f"stopped at step {stopped:,} and saved" in out) == (143, True), err
            assert first <= stopped < MANY
        else:
            assert code == -number or last == MANY  # whose evaluation may have ended
            assert f"resuming  from step {stopped:,}" in out or last == MANY
    code, _, err = end(started(workdir, OFTEN))
    assert code == 0, err
    assert_same_run(uninterrupted, workdir, MANY, without=stopped)


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again_and_a_damaged_one_from_the_checkpoint_before(finished, copied):
    """Its evaluation is left out on request."""
    (copied / "evaluation.json").unlink()
    command = ["train", *train_arguments(copied), "--config.evaluation.at_end=false"]
    out = succeeds(*command)
    assert f"resuming  from step {STEPS}" in out
    assert not (copied / "evaluation.json").exists()
    report = (copied / "report.html").read_text()
    assert "left out; experiments.evaluate finds the metrics" in report
    assert "bits/dim" not in report
    assert_same_run(finished[0], copied)
    arrays = [path for path in (copied / "checkpoints" / str(STEPS) / "state").rglob("*") if path.is_file()]
    largest = max(arrays, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    code, out, err = run(*command)
    assert code == 0, err
    assert f"checkpoints/{STEPS} is broken" in err
    assert f"resuming  from step {STEPS - EVERY}" in out
    assert_same_run(finished[0], copied)


def test_a_folder_without_a_run_is_a_config_error(tmp_path):
    assert "there is no run here" in fails("sample", f"--workdir={tmp_path}")


@pytest.mark.slow
def test_a_model_with_a_map_and_a_vector_is_trained_sampled_and_evaluated(tmp_path):
    workdir = f"--workdir={tmp_path}"
    small = "network.multipliers=1, network.blocks=1 sampling.batch_size=10"
    out = succeeds(
        "train",
        workdir,
        *given("images/smoke", f"conditions.map.name=average_pool conditions.vector.name=moments {small}"),
    )
    assert "RMSE of the dense map" in out
    assert "RMSE of the vector" in out
    assert (tmp_path / "maps.png").stat().st_size > 0
    succeeds("sample", workdir, "--num=3", "--labels=5")
    assert (tmp_path / "samples" / "sample_maps.png").stat().st_size > 0
    err = fails("sample", workdir, "--config.conditions.map.name=none")  # which it was trained with
    assert "config.conditions.map.name=none: the weights in" in err
