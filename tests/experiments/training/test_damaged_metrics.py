"""Damaged metrics: rows that are none, a full disk."""

import errno
from types import SimpleNamespace

import pytest

from experiments.cli.config import ConfigError, load_resolved
from experiments.training.writers import MetricWriter, read_metrics


@pytest.mark.parametrize(
    "row", ["5", "null", "[]", '"step"', "{}", '{"step": "1"}', '{"step": 1.5}', '{"step": true}', ""]
)
def test_a_row_without_a_step_is_reported_when_read_and_dropped_with_a_warning_when_resumed(tmp_path, row):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + row + '\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"line 2, must be JSON, an object with an integer step, got b'"):
        read_metrics(path)
    with pytest.warns(UserWarning, match=r"metrics.jsonl: damaged lines are dropped: 2"):
        MetricWriter(tmp_path, resume_step=9).close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2]


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    with MetricWriter(tmp_path) as writer:
        file, writer._file = writer._file, SimpleNamespace(write=full, close=lambda: None)
        file.close()
        with pytest.raises(OSError, match=r"No space left on device: .*/metrics.jsonl"):
            writer.scalars(1, {"loss": 1.0})


def test_a_full_disk_is_an_error_of_the_events_too(tmp_path, monkeypatch):
    from tensorboardX.record_writer import RecordWriter

    with MetricWriter(tmp_path) as writer, monkeypatch.context() as patch:
        patch.setattr(RecordWriter, "write", full)
        with pytest.raises(OSError, match=r"No space left on device: .*/tensorboard"):
            writer.scalars(1, {"loss": 1.0})


@pytest.mark.parametrize("content", ["[1,2]", "5", "null", '"x"', "{", "", "\xff", '{"a":' * 300 + "1" + "}" * 300])
def test_a_config_that_is_no_object_is_a_config_error(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"config.json is not a saved config: "):
        load_resolved(path)
