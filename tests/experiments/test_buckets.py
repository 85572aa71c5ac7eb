"""A workdir in a bucket: all that a run writes and reads goes through the paths of the bucket.

The bucket is a local folder under the name ``gs://bucket``. Checkpoints are written by tensorstore, which would ask the
network for the bucket: their folder is given to it as a local one.
"""

import types

import numpy as np
import pytest
from etils import epath
from etils.epath import backend
from fsspec.implementations.local import LocalFileSystem
from programs import POINTS, overridden, succeeds

from experiments.cli import flags
from experiments.cli.config import ConfigError
from experiments.cli.endings import ProgramError
from experiments.training import lock
from experiments.training.writers import read_metrics
from scorekit.io import as_path, write_atomic
from scorekit.training import checkpoints, restoring

TINY = """
    training.warmup_steps=2 training.log_every=2 training.sample_every=4 training.checkpoint_every=4 training.steps=8
    sampling.steps=2 sampling.batch_size=20 evaluation.num_samples=40 evaluation.guidance_scales=1
    evaluation.bound_times=2
"""


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """The folder that ``gs://bucket`` stands for."""

    class Store(LocalFileSystem):
        cachable = False

        @classmethod
        def _strip_protocol(cls, path):
            path = str(path).replace("gs:///", "/").replace("gs://bucket", str(tmp_path / "bucket"))
            return LocalFileSystem._strip_protocol(path)

    store = Store(auto_mkdir=True)
    monkeypatch.setattr(backend._FileSystemSpecBackend, "fs", lambda self, path: store)
    (tmp_path / "bucket").mkdir()
    local = lambda directory: as_path(str(directory).replace("gs://bucket", str(tmp_path / "bucket")))
    for module in (restoring, checkpoints):
        monkeypatch.setattr(module, "absolute", lambda directory: epath.Path(local(directory)))
    monkeypatch.setattr(lock, "SETTLED_AFTER", 0.01)
    return tmp_path / "bucket"


def test_files_are_written_into_the_bucket(bucket):
    path = write_atomic("gs://bucket/deep/note.txt", "done")
    assert str(path) == "gs://bucket/deep/note.txt"
    assert (bucket / "deep" / "note.txt").read_text() == "done"
    assert [p.name for p in (bucket / "deep").iterdir()] == ["note.txt"]


def test_one_process_holds_the_lock(bucket):
    folder = as_path("gs://bucket/run")
    with lock.hold(folder):
        with pytest.raises(ProgramError, match=r"gs://bucket/run: process .* trains here"), lock.hold(folder):
            pass
        assert (bucket / "run" / lock.NAME).exists()
    assert not (bucket / "run" / lock.NAME).exists()


@pytest.mark.slow
def test_a_run_in_a_bucket_is_trained_continued_sampled_and_evaluated(bucket):
    train = ["train", *POINTS, *overridden(TINY), "--workdir=gs://bucket/run"]
    out = succeeds(*train)
    assert "gs://bucket/run/report.html" in out.splitlines()[-1]
    names = {path.name for path in (bucket / "run").iterdir()}
    assert {"report.html", "config.json", "metrics.jsonl", "evaluation.json", "tensorboard", "checkpoints"} <= names
    assert ".lock" not in names
    assert "resuming  from step 8" in succeeds(*train, "--config.training.steps=12")
    rows = [row["step"] for row in read_metrics("gs://bucket/run/metrics.jsonl") if "train/loss" in row]
    assert rows == list(range(2, 13, 2))
    assert len(list((bucket / "run" / "tensorboard").iterdir())) >= 2
    succeeds("sample", "--workdir=gs://bucket/run", "--num=50")
    assert np.load(bucket / "run" / "samples" / "sample.npz")["x"].shape == (50, 2)
    assert not (bucket / "run" / "samples" / "partial").exists()
    succeeds("evaluate", "--workdir=gs://bucket/run")
    assert (bucket / "run" / "evaluation_12.json").exists()


def test_other_programs_name_the_flag():
    with pytest.raises(ConfigError, match="--workdir=gs://bucket/run: must be a folder of this machine"):
        flags.path(types.SimpleNamespace(name="workdir", value="gs://bucket/run"))  # type: ignore[arg-type]
