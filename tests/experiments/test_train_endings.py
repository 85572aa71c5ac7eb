"""How training ends when it cannot go on: one line that says what to do, an exit code, and nothing lost."""

import json
import re
import shutil
import signal

import pytest
from programs import POINTS, end, fails, overridden, run, start

from experiments.models.run_files import restore
from experiments.training import lock

TINY = """
    training.warmup_steps=5 training.log_every=100000 training.sample_every=1000000 training.checkpoint_every=100000
    training.steps=1000000
"""


def wait_for_a_step(process):
    """Until its first line of progress, which leaves the later ones to be read."""
    assert any(line.startswith("training 1/") for line in process.stderr), end(process)


def endless(workdir, fields=""):
    return [*POINTS, *overridden(f"{TINY} {fields}"), f"--workdir={workdir}"]


def only_line(err):
    """The one line of stderr apart from the progress."""
    (line,) = [line for line in err.splitlines() if line.strip() and not line.startswith("training ")]
    return line


@pytest.mark.slow
def test_a_second_run_ends_at_once_and_ctrl_c_saves(tmp_path):
    workdir = tmp_path / "run"
    process = start("train", *endless(workdir))
    wait_for_a_step(process)
    assert json.loads((workdir / lock.NAME).read_text())["pid"] == process.pid
    code, out, err = run("train", *endless(workdir))
    assert (code, out) == (1, "")  # before it has loaded anything
    assert f"process {process.pid} on " in only_line(err)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, out, err = end(process)
    assert code == 130, err
    notice = ["", "stopping after the step under way, then saving; Ctrl-C again leaves without saving"]
    assert [line for line in err.splitlines() if not line.startswith("training ")] == notice
    assert out.splitlines()[-1].startswith("stopped at step ")
    assert not (workdir / lock.NAME).exists()
    step, _ = restore("--workdir", workdir, None, "none")
    assert f"stopped at step {step:,} and saved" in out


@pytest.mark.slow
def test_a_full_disk_is_one_line(tmp_path):
    """A file cannot grow above 8 kB, as if the disk were full."""
    limited, arguments = (
        ["bash", "-c", 'ulimit -f 8; "$@"', "bash"],
        endless(tmp_path / "run", "training.checkpoint_every=5"),
    )
    process = start("train", *arguments, shell=limited, JAX_ENABLE_COMPILATION_CACHE="false")  # which cannot be written
    code, _, err = end(process)
    assert code == 1, err
    assert only_line(err).startswith(f"error: {tmp_path}/run/checkpoints: File too large; free some space")
    assert not (tmp_path / "run" / lock.NAME).exists()


@pytest.fixture
def trained(ring_run, tmp_path):
    """A copy of a run with a checkpoint, and the command that continues it."""
    workdir = shutil.copytree(ring_run, tmp_path / "run")
    return workdir, [f"--config={workdir}/config.json", f"--workdir={workdir}"]


@pytest.mark.slow
def test_a_run_whose_checkpoints_are_all_damaged_is_not_started_anew(trained):
    workdir, arguments = trained
    (workdir / "metrics.jsonl").write_text('{"step": 1, "train/loss": 0.5}\n')
    shutil.rmtree(workdir / "checkpoints" / "1" / "extra")
    before = sorted(path.relative_to(workdir) for path in workdir.rglob("*"))
    code, out, err = run("train", *arguments)
    assert (code, out) == (1, "")
    assert f"all checkpoints in {workdir}/checkpoints are damaged: 1 (" in only_line(err)
    assert f"another --workdir, or with the same one after rm -r {workdir}" in err
    assert sorted(path.relative_to(workdir) for path in workdir.rglob("*")) == before
    assert (workdir / "metrics.jsonl").read_text() == '{"step": 1, "train/loss": 0.5}\n'


def test_a_checkpoint_of_another_network_is_one_line(trained):
    code, _, err = run("train", *trained[1])  # its optimiser is not that of the config
    assert code == 1
    line = only_line(err)
    assert "checkpoints/1 does not fit: opt_state/" in line
    assert line.endswith("use another --workdir")


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_at_the_limit(tmp_path):
    """Steps are counted, although no step is logged."""
    fields = "training.learning_rate=1e30 training.skip_limit=5"
    code, _, err = run("train", *endless(tmp_path / "run", fields))
    assert code == 1
    assert re.search("was not finite in [5-9] steps in a row, up to step ", only_line(err))
    assert "config.training.skip_limit=5" in err
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("workdir", ["{}/file", "{}/file/run", "/proc/run"])
def test_a_workdir_that_cannot_be_written_is_one_line(workdir, tmp_path):
    (tmp_path / "file").write_text("")
    workdir = workdir.format(tmp_path)
    err = fails("train", *endless(workdir))
    assert err.startswith(f"error: --workdir={workdir}: must be a folder that files can be written into: ")
