"""Metric files: what is written is read back, and a resumed run leaves the file of an uninterrupted one."""

import contextlib
import errno
import json
import math
import signal
import subprocess
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from programs import ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboardX.record_writer import RecordWriter

from experiments.training.writers import MetricWriter, read_metrics


def write(workdir, steps, resume_step=None):
    with MetricWriter(workdir, resume_step=resume_step) as writer:
        for step in steps:
            writer.scalars(step, {"train/loss": 1 / (1 + step), "seen": 8 * step})


def timeless(workdir):
    return [{k: v for k, v in row.items() if k != "time"} for row in read_metrics(workdir / "metrics.jsonl")]


def board(workdir):
    events = EventAccumulator(str(workdir / "tensorboard"))
    events.Reload()
    return events


def test_scalars_of_every_type_are_read_back(tmp_path):
    values = {"a": 1, "b": 0.1, "c": np.float32(0.5), "d": jnp.asarray(2.5), "e": np.int64(7), "f": jnp.ones((1,))}
    with MetricWriter(tmp_path / "run") as writer:
        writer.scalars(3, values)
        (row,) = read_metrics(tmp_path / "run" / "metrics.jsonl")  # readable while the run goes on
    assert row.pop("time") > 1.6e9
    assert row == {"step": 3, "a": 1, "b": 0.1, "c": 0.5, "d": 2.5, "e": 7, "f": 1.0}
    assert isinstance(row["e"], int)


def test_non_finite_values_are_strings_in_the_file_and_floats_when_read(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.scalars(1, {"x": math.nan, "y": jnp.inf, "z": -np.inf})

    def reject(name):
        raise AssertionError(f"{name} is not JSON")

    row = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=reject)
    assert (row["x"], row["y"], row["z"]) == ("nan", "inf", "-inf")
    (row,) = read_metrics(tmp_path / "metrics.jsonl")
    assert math.isnan(row["x"])
    assert (row["y"], row["z"]) == (math.inf, -math.inf)


def test_a_resumed_run_has_the_rows_of_an_uninterrupted_one(tmp_path):
    write(tmp_path / "full", range(0, 60, 10))
    write(tmp_path / "cut", range(0, 50, 10))
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "tra')  # the last line was cut short
    assert len(read_metrics(tmp_path / "cut" / "metrics.jsonl")) == 5
    write(tmp_path / "cut", range(30, 60, 10), resume_step=20)
    assert timeless(tmp_path / "cut") == timeless(tmp_path / "full")
    assert [row["step"] for row in timeless(tmp_path / "cut")] == [0, 10, 20, 30, 40, 50]


def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path):
    write(tmp_path, [0, 10, 20, 30, 50])
    write(tmp_path, [0, 10, 20, 30])  # anew: nothing is kept
    assert [row["step"] for row in timeless(tmp_path)] == [0, 10, 20, 30]
    write(tmp_path, [20, 30, 40], resume_step=10)
    events = board(tmp_path).Scalars("train/loss")
    assert [e.step for e in events] == [0, 10, 20, 30, 40]
    np.testing.assert_allclose([e.value for e in events], [1 / (1 + e.step) for e in events], rtol=1e-6)


PROGRAM = """
import sys
from experiments.training.writers import MetricWriter
writer = MetricWriter(sys.argv[1])
for step in range(1, 10**9):
    writer.scalars(step, {"x": step})
    if step == 20:
        print("ready", flush=True)
"""


def test_sigkill_loses_no_written_line(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    steps = [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert len(steps) >= 20
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.parametrize("row", ["null", "{}", '{"st', '{"step": 1.5}', '{"step": true}', ""])
def test_a_row_without_a_step_is_left_out_with_a_warning(tmp_path, row):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + row + '\n{"step": 2}\n')
    with pytest.warns(UserWarning, match=r"metrics.jsonl: damaged lines are left out: 2"):
        assert [row["step"] for row in read_metrics(path)] == [1, 2]
    with pytest.warns(UserWarning, match=r"metrics.jsonl: damaged lines are left out: 2"):
        MetricWriter(tmp_path, resume_step=9).close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2]


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    with MetricWriter(tmp_path) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(type(writer.path), "open", lambda *_: contextlib.nullcontext(SimpleNamespace(write=full)))
            with pytest.raises(OSError, match=r"No space left on device: .*/metrics.jsonl"):
                writer.scalars(1, {"loss": 1.0})
        with monkeypatch.context() as patch:
            patch.setattr(RecordWriter, "write", full)
            with pytest.raises(OSError, match=r"No space left on device: .*/tensorboard"):
                writer.scalars(1, {"loss": 1.0})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        *[({"loss": value}, "loss must be one number") for value in (np.zeros(2), "0.5", None)],
        ({"step": 1}, "must not use the name 'step'"),
    ],
)
def test_values_other_than_scalars_raise_and_write_nothing(tmp_path, values, words):
    with MetricWriter(tmp_path) as writer:
        with pytest.raises(ValueError, match=words):
            writer.scalars(1, values)
        assert read_metrics(writer.path) == []
