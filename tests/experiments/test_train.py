"""Training from a shell: what a run writes, how it is stopped and resumed, and errors before anything is compiled."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from absl import flags
from programs import ROOT, run, run_process

from experiments import data, tasks
from experiments.cli import command_line, endings
from experiments.configs import base
from experiments.models.model import build_model
from experiments.training import loop
from experiments.training.writers import read_metrics
from scorekit.training import restore_params

STEPS, EVERY = 12, 4
MANY, OFTEN = 1000, 50  # of the processes that are stopped
# A small point model: seconds to compile, and the same code path as images.
TINY = [
    "--config=experiments/configs/points/mixture_2d.py",
    "--config.network.features=8",
    "--config.network.blocks=1",
    "--config.training.batch_size=16",
    "--config.training.warmup_steps=5",
    "--config.training.log_every=5",
    "--config.training.sample_every=1000000",
    "--config.sampling.steps=2",
    "--config.sampling.batch_size=64",
    "--config.sampling.guidance_scale=1",
    "--config.evaluation.num_samples=64",
    "--config.evaluation.guidance_scales=1",
    "--config.evaluation.bound_times=2",
    "--config.training.keep=3",
    "--config.training.power_ema=0.05,0.1",
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Processes with one device and a cache of compiled programs that they share."""
    cache = str(tmp_path_factory.mktemp("cache"))
    caching = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, "XLA_FLAGS": os.environ["SCOREKIT_TEST_XLA_FLAGS"], "JAX_PLATFORMS": "cpu", **caching}


def train_arguments(workdir, steps=STEPS, every=EVERY):
    counts = [f"--config.training.steps={steps}", f"--config.training.checkpoint_every={every}"]
    return [*TINY, f"--workdir={workdir}", *counts]


def parameters(workdir):
    step, params = restore_params(workdir / "checkpoints")
    return step, [np.asarray(x) for x in jax.tree.leaves(params)]


def assert_same_parameters(one, other, steps):
    (step, params), (other_step, others) = parameters(one), parameters(other)
    assert step == other_step == steps
    for a, b in zip(params, others, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_run(one, other, steps=STEPS):
    assert_same_parameters(one, other, steps)
    snapshots, others = (sorted((d / "snapshots").iterdir()) for d in (one, other))
    assert [path.name for path in snapshots] == [path.name for path in others]
    for a, b in zip(snapshots, others, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    rows, other_rows = (
        [{k: v for k, v in row.items() if k != "time"} for row in read_metrics(d / "metrics.jsonl")]
        for d in (one, other)
    )
    assert rows == other_rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run: its folder, output and errors."""
    workdir = tmp_path_factory.mktemp("runs") / "full"
    code, out, err = run("train", *train_arguments(workdir))
    assert code == 0, err
    return workdir, out, err


@pytest.fixture(scope="module")
def uninterrupted(environment, tmp_path_factory):
    """The folder of a longer run in a process of its own."""
    workdir = tmp_path_factory.mktemp("runs") / "long"
    code, out, err = run_process("train", *train_arguments(workdir, MANY, OFTEN), environment=environment)
    assert code == 0, err
    assert "devices" in out.splitlines()[0]
    assert all(line.startswith("training ") for line in err.splitlines()), err
    return workdir


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that run, to change."""
    return shutil.copytree(finished[0], tmp_path / "copy")


@pytest.mark.slow
def test_a_run_writes_its_report_metrics_and_pictures(finished):
    workdir, out, _ = finished
    for name in ("config.json", "metrics.jsonl", "evaluation.json", "report.html", "samples.png", "guidance.png",
                 "training.png", "loss_by_noise_level.png"):  # fmt: skip
        assert (workdir / name).stat().st_size > 0, name
    assert list((workdir / "tensorboard").iterdir())
    assert "devices" in out.splitlines()[0]
    assert str(workdir / "report.html") in out.splitlines()[-1]
    metrics = json.loads((workdir / "evaluation.json").read_text())
    assert 0 <= metrics["γ = 1/class accuracy"] <= 1
    assert "<img" in (workdir / "report.html").read_text()


def test_only_progress_is_written_to_stderr(finished):
    assert all(line.startswith("training ") for line in finished[2].splitlines()), finished[2]


@pytest.mark.slow
def test_any_checkpoint_is_sampled_with_guidance_from_an_earlier_one(copied):
    guidance = [
        "--config.guidance=autoguidance,interval",
        f"--config.rules.autoguidance.step={STEPS - 2 * EVERY}",
        "--config.rules.interval.noise_max=5",
        "--config.sampling.guidance_scale=2",
    ]
    step = STEPS - EVERY
    code, out, err = run("sample", f"--workdir={copied}", "--num=7", "--labels=1,2", f"--step={step}", *guidance)
    assert code == 0, err
    assert f"step {step} at γ = 2, autoguidance + interval" in out
    with np.load(copied / "samples" / "sample.npz") as archive:
        assert archive["x"].shape == (7, 2)
        assert archive["label"].tolist() == [1, 2, 1, 2, 1, 2, 1]


@pytest.mark.slow
def test_any_width_is_evaluated_and_guided_by_a_narrower_average_of_an_earlier_step(copied):
    """The checkpoint of step 6 does not exist: its averages are those of the snapshots."""
    (copied / "samples").mkdir(exist_ok=True)
    narrow = [
        "--config.guidance=autoguidance",
        "--config.sampling.guidance_scale=2",
        "--config.rules.autoguidance.ema=power_0.05",
        "--config.sampling.ema=power_0.08",
    ]
    drawn = []
    for earlier in ([], ["--config.rules.autoguidance.step=6"], ["--step=6"]):
        code, out, err = run("sample", f"--workdir={copied}", "--num=7", *narrow, *earlier)
        assert code == 0, err
        drawn.append(np.load(copied / "samples" / "sample.npz")["x"])
    assert "step 6 at γ = 2" in out
    assert all(np.abs(drawn[i] - drawn[i - 1]).max() > 1e-4 for i in range(3))
    code, out, err = run("evaluate", f"--workdir={copied}", "--config.sampling.ema=power_0.08", "--ema_sweep=0.05,0.08")
    assert code == 0, err
    assert "0.05, γ = 1" in out
    found = json.loads((copied / f"evaluation_{STEPS}.json").read_text())
    for name in ("γ = 1/class accuracy", "bound/bits per dim"):
        assert found[f"power_0.08/{name}"] == found[name]
    assert found["power_0.05/bound/bits per dim"] != found["bound/bits per dim"]
    assert (copied / f"evaluation_{STEPS}_ema.png").stat().st_size > 0
    shutil.rmtree(copied / "snapshots")
    for arguments, word in (
        (["--ema_sweep=0.05,0.3"], "--ema_sweep=0.05,0.3: must be relative widths below 12^-1/2"),
        (["--ema_sweep=0.05"], "--ema_sweep=0.05: no snapshots of averages in"),
    ):
        code, _, err = run("evaluate", f"--workdir={copied}", *arguments)
        assert code == 2
        assert word in err


@pytest.mark.slow
def test_evaluate_reproduces_the_evaluation_of_training(copied):
    code, _, err = run("evaluate", f"--workdir={copied}")
    assert code == 0, err
    again = json.loads((copied / f"evaluation_{STEPS}.json").read_text())
    assert again == json.loads((copied / "evaluation.json").read_text())


def test_a_finished_run_is_not_trained_again(copied, finished, capsys):
    config = base.saved(str(copied))
    dataset = data.load(config)
    state = loop.fit(tasks.diffusion.fit(config, dataset, build_model(config, dataset), copied))
    assert f"resuming  from step {STEPS:,}" in capsys.readouterr().out
    assert int(state.step) == STEPS
    assert_same_run(copied, finished[0])


def test_a_run_is_not_continued_with_another_config(finished):
    code, _, err = run("train", *train_arguments(finished[0]), "--config.training.learning_rate=0.5")
    assert code == 2
    assert "config.training.learning_rate=0.5: the run in" in err


def start(environment, workdir, every):
    command = [sys.executable, "-m", "experiments.train", *train_arguments(workdir, MANY, every)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_step(process, workdir, step):
    """Until the metrics show that ``step`` is done."""
    deadline = time.monotonic() + 300
    path = workdir / "metrics.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and any(row["step"] >= step for row in read_metrics(path)):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached: {process.communicate()[0]}")


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_continues(uninterrupted, environment, tmp_path):
    stopped, never = tmp_path / "stopped", 100_000
    process = start(environment, stopped, never)
    wait_for_step(process, stopped, 5)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 143, out
    assert "stopped at step" in out
    at = parameters(stopped)[0]
    assert 5 <= at < MANY
    code, out, err = run_process("train", *train_arguments(stopped, MANY, never), environment=environment)
    assert code == 0, err
    assert f"resuming  from step {at:,}" in out
    assert_same_parameters(uninterrupted, stopped, MANY)


@pytest.mark.slow
def test_sigkill_at_any_moment_changes_nothing(uninterrupted, environment, tmp_path):
    """In every part of a run: before training, at a random moment of it, and in the evaluation."""
    killed, rng, kills = tmp_path / "killed", random.Random(0), 0
    for first, last in ((0, 0), (100, 900), (MANY, MANY)):
        process = start(environment, killed, OFTEN)
        if last:
            wait_for_step(process, killed, rng.randint(first, last))
        time.sleep(rng.uniform(0.0, 2.0 if first == last else 0.1))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2
    process = start(environment, killed, OFTEN)
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert_same_run(uninterrupted, killed, MANY)


@pytest.mark.slow
def test_a_corrupted_newest_checkpoint_is_reported_and_the_one_before_it_resumed(uninterrupted, environment, tmp_path):
    workdir = shutil.copytree(uninterrupted, tmp_path / "copy")
    arrays = [path for path in (workdir / "checkpoints" / str(MANY) / "state").rglob("*") if path.is_file()]
    largest = max(arrays, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    code, out, err = run_process("train", *train_arguments(workdir, MANY, OFTEN), environment=environment)
    assert code == 0, err
    assert f"checkpoints/{MANY} is broken" in err
    assert f"resuming  from step {MANY - OFTEN}" in out
    assert_same_run(uninterrupted, workdir, MANY)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.training.stepz=5"], ["stepz", "did you mean steps?"]),
        (["--config.training.steps=abc"], ["training.steps=abc", "integer"]),
        (
            ["--config.loss.target.name=eps", "--config.sampling.grid.name=uniform"],
            ["grid.t_max=1.0", "target eps", "cosine"],
        ),
        (["--config.training.batch_size=7", "--config.training.accumulate=2"], ["batch_size=7", "multiple of"]),
        (["--config.network.name=mlp"], ["network.name=mlp", "must be adm or ddpmunet or dit"]),
        (["--config.loss.label_dropout=0"], ["label_dropout=0.0", "null token"]),
        (["--config.schedule.beta_min=0.1"], ["schedule.beta_min=0.1", "cosine takes s"]),
        (["--config.guidance=interval,classifier_free"], ["interval has nothing to wrap"]),
        (
            ["--config.training.power_ema=0.05,0.1", "--config.sampling.ema=power_0.07"],
            ["sampling.ema=power_0.07: must be one of 0.999, none, power_0.05, power_0.1"],
        ),
        (["--config.training.power_ema=0.3,"], ["power_ema=(0.3,): must be a sequence of at least 1, each in (0, "]),
        (["--config.training.snapshot_every=3"], ["snapshot_every=3: must be left out without training.power_ema"]),
        (["--config.guidance=autoguidance", "--config.rules.autoguidance.step=2"], ["train with another rule"]),
    ],
)
def test_invalid_configs_raise_before_anything_is_compiled(
    arguments, words, tmp_path, capsys, monkeypatch, load_program
):
    train = load_program("experiments.train")
    values = ["train", "--config=experiments/configs/images/smoke.py", f"--workdir={tmp_path}/run", *arguments]
    monkeypatch.chdir(ROOT)

    def main():
        with endings.one_line():
            config = command_line.parse(values, lambda: train._CONFIG.value, flags.FLAGS)
            tasks.check_fields(config)
            train.check(config, tmp_path / "run")

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for word in words:
        assert word in message
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run_is_a_config_error(tmp_path):
    code, _, err = run("sample", f"--workdir={tmp_path}")
    assert code == 2
    assert "there is no run here" in err


@pytest.mark.slow
def test_a_model_with_a_map_and_a_vector_is_trained_sampled_and_evaluated(tmp_path):
    workdir = f"--workdir={tmp_path}"
    given = ["--config.data.map.name=average_pool", "--config.data.vector.name=moments"]
    small = ["--config.network.multipliers=1,", "--config.network.blocks=1", "--config.sampling.batch_size=10"]
    code, out, err = run("train", "--config=experiments/configs/images/smoke.py", workdir, *given, *small)
    assert code == 0, err
    assert "RMSE of the dense map" in out
    assert "RMSE of the vector" in out
    assert (tmp_path / "maps.png").stat().st_size > 0
    code, out, err = run("sample", workdir, "--num=3", "--labels=5")
    assert code == 0, err
    assert (tmp_path / "samples" / "sample_maps.png").stat().st_size > 0
    code, _, err = run("sample", workdir, "--config.data.map.name=none")  # which it was trained with
    assert code == 2
    assert "config.data.map.name=none: the weights in" in err
