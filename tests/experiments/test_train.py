"""The programs as a person meets them: from a shell, killed, resumed, mistyped."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.training.writers import read_metrics
from scorekit.training import restore_params

ROOT = Path(__file__).parents[2]
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
    "--config.sampling.guidance_scale=1",
    "--config.evaluation.num_samples=64",
    "--config.evaluation.guidance_scales=1",
    "--config.evaluation.bound_times=2",
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """One device, and a cache of compiled programs that the runs share."""
    cache = str(tmp_path_factory.mktemp("cache"))
    caching = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", **caching}


def command(program, *arguments):
    return [sys.executable, "-m", f"experiments.{program}", *arguments]


def run(environment, program, *arguments):
    done = subprocess.run(
        command(program, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def train_arguments(workdir, steps, every):
    return [*TINY, f"--workdir={workdir}", f"--config.training.steps={steps}",
            f"--config.training.checkpoint_every={every}"]  # fmt: skip


def parameters(workdir):
    step, params = restore_params(workdir / "checkpoints")
    return step, [np.asarray(x) for x in jax.tree.leaves(params)]


def assert_same_run(one, other):
    (step, params), (other_step, others) = parameters(one), parameters(other)
    assert step == other_step
    for a, b in zip(params, others, strict=True):
        np.testing.assert_array_equal(a, b)
    rows, other_rows = ([{k: v for k, v in row.items() if k != "time"} for row in read_metrics(d / "metrics.jsonl")]
                        for d in (one, other))  # fmt: skip
    assert rows == other_rows


@pytest.fixture(scope="module")
def finished(environment, tmp_path_factory):
    """An uninterrupted run, its output and its folder."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    kept = "--config.training.keep=3"  # all, whichever is best
    code, out, err = run(environment, "train", *train_arguments(workdir, 60, 20), kept)
    assert code == 0, err
    return workdir, out, err


def test_a_run_leaves_everything_behind(finished):
    workdir, out, _ = finished
    for name in ("config.json", "metrics.jsonl", "evaluation.json", "report.html", "samples.png", "guidance.png",
                 "training.png", "loss_by_noise_level.png"):  # fmt: skip
        assert (workdir / name).stat().st_size > 0, name
    assert list((workdir / "tensorboard").iterdir())
    assert "devices" in out.splitlines()[0]
    assert str(workdir / "report.html") in out.splitlines()[-1]
    numbers = json.loads((workdir / "evaluation.json").read_text())
    assert 0 <= numbers["γ = 1/class accuracy"] <= 1
    assert "<img" in (workdir / "report.html").read_text()


def test_nothing_but_progress_on_stderr(finished):
    assert all(line.startswith("training ") for line in finished[2].splitlines()), finished[2]


def test_sample_and_evaluate_work_from_any_checkpoint(finished, environment):
    workdir = finished[0]
    guidance = ["--config.guidance=autoguidance,interval", "--config.rules.autoguidance.step=20",
                "--config.rules.interval.noise_max=5", "--config.sampling.guidance_scale=2"]  # fmt: skip
    code, out, err = run(
        environment, "sample", f"--workdir={workdir}", "--num=7", "--labels=1,2", "--step=40", *guidance
    )
    assert code == 0, err
    assert "step 40 at γ = 2, autoguidance + interval" in out
    with np.load(workdir / "samples" / "sample.npz") as archive:
        assert archive["x"].shape == (7, 2)
        assert archive["label"].tolist() == [1, 2, 1, 2, 1, 2, 1]
    code, out, err = run(environment, "evaluate", f"--workdir={workdir}")
    assert code == 0, err
    again = json.loads((workdir / "evaluation_60.json").read_text())
    assert again == json.loads((workdir / "evaluation.json").read_text())


def test_a_finished_run_is_not_trained_again(finished, environment):
    workdir = finished[0]
    before = parameters(workdir)
    code, out, err = run(environment, "train", *train_arguments(workdir, 60, 20))
    assert code == 0, err
    assert "resuming  from step 60" in out
    assert parameters(workdir)[0] == before[0]


def start(environment, workdir, steps, every):
    process = subprocess.Popen(
        command("train", *train_arguments(workdir, steps, every)),
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return process


def wait_for_step(process, workdir, step):
    """Until the metrics show that ``step`` is done."""
    deadline = time.monotonic() + 240
    path = workdir / "metrics.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and any(row["step"] >= step for row in read_metrics(path)):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached: {process.communicate()[0]}")


def test_sigterm_saves_and_the_same_command_continues(environment, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    steps = 3000
    assert run(environment, "train", *train_arguments(whole, steps, 100_000))[0] == 0
    process = start(environment, stopped, steps, 100_000)
    wait_for_step(process, stopped, 5)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 143, out
    assert "stopped at step" in out
    at = parameters(stopped)[0]
    assert 5 <= at < steps
    code, out, err = run(environment, "train", *train_arguments(stopped, steps, 100_000))
    assert code == 0, err
    assert f"resuming  from step {at:,}" in out
    (step, params), (other, others) = parameters(whole), parameters(stopped)
    assert step == other == steps
    for a, b in zip(params, others, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_sigkill_at_any_moment_changes_nothing(environment, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    steps, every = 1000, 50
    assert run(environment, "train", *train_arguments(whole, steps, every))[0] == 0
    rng, kills = random.Random(0), 0
    for _ in range(12):
        process = start(environment, killed, steps, every)
        try:
            process.communicate(timeout=rng.uniform(3.0, 9.0))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
    else:
        process = start(environment, killed, steps, every)
        process.communicate(timeout=300)
    assert process.returncode == 0
    assert kills > 0
    assert_same_run(whole, killed)


def test_a_corrupted_newest_checkpoint_is_named_and_passed_over(finished, environment, tmp_path):
    workdir, _, _ = finished
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(workdir), str(copy)], check=True)
    arrays = [path for path in (copy / "checkpoints" / "60" / "state").rglob("*") if path.is_file()]
    largest = max(arrays, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    code, out, err = run(environment, "train", *train_arguments(copy, 60, 20))
    assert code == 0, err
    assert "checkpoints/60 is broken" in err
    assert "resuming  from step 40" in out
    assert_same_run(workdir, copy)


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
        (["--config.network.name=mlp"], ["network.name=mlp", "must be unet"]),
        (["--config.loss.label_dropout=0"], ["label_dropout=0.0", "null token"]),
        (["--config.schedule.beta_min=0.1"], ["schedule.beta_min=0.1", "cosine takes s"]),
        (["--config.guidance=interval,classifier_free"], ["interval has nothing to wrap"]),
        (["--config.guidance=autoguidance", "--config.rules.autoguidance.step=2"], ["train with another rule"]),
    ],
)
def test_refusals_come_before_anything_is_compiled(arguments, words, tmp_path, capsys, monkeypatch, load_program):
    from absl import flags

    from experiments.cli import command_line

    train = load_program("experiments.train")
    values = ["train", "--config=experiments/configs/images/smoke.py", f"--workdir={tmp_path}/run", *arguments]
    monkeypatch.chdir(ROOT)

    def main():
        with command_line.exit_on_config_error():
            train.check(command_line.parse(values, lambda: train._CONFIG.value, flags.FLAGS))

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for word in words:
        assert word in message
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_continued_with_another_config(finished, environment):
    arguments = [*train_arguments(finished[0], 60, 20), "--config.training.learning_rate=0.5"]
    code, _, err = run(environment, "train", *arguments)
    assert code == 2
    assert "config.training.learning_rate=0.5: the run in" in err


def test_an_empty_folder_is_told_apart(environment, tmp_path):
    code, _, err = run(environment, "sample", f"--workdir={tmp_path}")
    assert code == 2
    assert "there is no run here" in err


@pytest.mark.slow
def test_a_classifier_is_trained_beside_a_plain_one_and_guides_a_model(environment, tmp_path):
    tiny = ["--config=experiments/configs/images/digits_classifier.py", f"--workdir={tmp_path}/classifier",
            "--config.classifier.channels=8", "--config.training.batch_size=8", "--config.training.warmup_steps=2",
            "--config.training.checkpoint_every=2", "--config.evaluation.levels=3",
            "--config.evaluation.draws=1"]  # fmt: skip
    code, out, err = run(environment, "train_classifier", *tiny, "--config.training.steps=4")
    assert code == 0, err
    assert "accuracy, noisy  accuracy, clean" in out
    found = json.loads((tmp_path / "classifier" / "evaluation.json").read_text())
    assert set(found) == {"noisy", "clean"}
    assert len(found["noisy"]["accuracy"]) == 4
    assert (tmp_path / "classifier" / "accuracy.png").stat().st_size > 0
    code, out, err = run(environment, "train_classifier", *tiny, "--config.training.steps=6")
    assert code == 0, err
    assert out.count("resuming  from step 4") == 2
    smoke = f"--workdir={tmp_path}/smoke"
    code, _, err = run(environment, "train", "--config=experiments/configs/images/smoke.py", smoke)
    assert code == 0, err
    drawn = []
    for folder in ("classifier", "classifier/plain"):
        code, out, err = run(
            environment, "sample", smoke, "--num=4", "--config.guidance=classifier,dynamic_threshold",
            f"--config.rules.classifier.workdir={tmp_path}/{folder}", "--config.sampling.guidance_scale=300",
        )  # fmt: skip
        assert code == 0, err
        assert "classifier + dynamic_threshold" in out
        with np.load(tmp_path / "smoke" / "samples" / "sample.npz") as archive:
            drawn.append(archive["x"])
    assert not np.array_equal(*drawn)


@pytest.mark.slow
def test_a_model_told_a_map_and_a_vector_is_trained_sampled_and_evaluated(environment, tmp_path):
    workdir = f"--workdir={tmp_path}"
    given = ["--config.data.map.name=average_pool", "--config.data.vector.name=moments"]
    code, out, err = run(environment, "train", "--config=experiments/configs/images/smoke.py", workdir, *given)
    assert code == 0, err
    assert "RMSE of the dense map" in out
    assert "RMSE of the vector" in out
    assert (tmp_path / "maps.png").stat().st_size > 0
    code, out, err = run(environment, "sample", workdir, "--num=3", "--labels=5")
    assert code == 0, err
    assert (tmp_path / "samples" / "sample_maps.png").stat().st_size > 0
    code, _, err = run(environment, "sample", workdir, "--config.data.map.name=none")  # which it was trained with
    assert code == 2
    assert "does not fit" in err
