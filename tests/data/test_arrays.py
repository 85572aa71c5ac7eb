"""Reading image sets through TFDS: splits, damaged files, silence, and error messages."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from scorekit.data import load

X = np.arange(360 * 64).reshape(360, 8, 8, 1) % 17


class Squares(tfds.core.GeneratorBasedBuilder):
    """The set ``squares``: 300 images of 17 values for training, and 60 for testing."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8, encoding="bytes")
        features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(num_classes=10)})
        return tfds.core.DatasetInfo(builder=self, features=features, metadata=tfds.core.MetadataDict(levels=17))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(300)), "test": self._generate_examples(range(300, 360))}

    def _generate_examples(self, rows):
        for i in rows:
            yield i, {"image": X[i].astype(np.uint8), "label": i % 10}


def rows(x, label):
    """The images and labels of a set as a sorted list of bytes."""
    return sorted(bytes([c]) + image.tobytes() for image, c in zip(x, label, strict=True))


def test_splits_have_all_examples_of_the_builder(tmp_path):
    folder, splits = tmp_path / "made" / "on_first_use", ("train+test", "train", "train[:80%]", "train[80%:]")
    both, train, head, tail = (load("squares", split, folder) for split in splits)
    assert (train.x.shape, train.x.dtype, train.label.dtype) == ((300, 8, 8, 1), np.uint8, np.int32)
    assert (train.bins, train.num_classes, train.name) == (17, 10, "squares")
    assert rows(both.x, both.label) == rows(X.astype(np.uint8), np.arange(360) % 10)
    np.testing.assert_array_equal(np.concatenate([head.x, tail.x]), train.x)
    np.testing.assert_array_equal(np.concatenate([head.label, tail.label]), train.label)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("penguins", "the feature 'image', uint8"),
        ("dtd", r"uint8 \(H, W, C\) of one shape; 'dtd' has"),
        ("celeb_a", "the class feature 'label'; 'celeb_a' has"),
    ],
)
def test_load_rejects_unsupported_sets_before_any_download(tmp_path, name, message):
    with pytest.raises(ValueError, match=f"name must be a set with .*{message}"):
        load(name, "train", tmp_path)
    assert not os.listdir(tmp_path)


def test_first_load_prints_and_logs_nothing(tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    load("squares", "train", tmp_path)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.name.split(".")[0] in ("absl", "tensorflow_datasets")]


@pytest.mark.slow
def test_load_prepares_again_after_a_kill(tmp_path):
    program = (
        "import os, signal, sys; from scorekit.data import load\n"
        "sys.path.insert(0, sys.argv[2]); import test_arrays\n"
        "def die(self, *args):\n"
        "    yield 0, {'image': __import__('numpy').zeros((8, 8, 1), 'uint8'), 'label': 0}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "test_arrays.Squares._generate_examples = die\n"
        "load('squares', 'train', sys.argv[1])"
    )
    command = [sys.executable, "-c", program, tmp_path, os.path.dirname(__file__)]
    assert subprocess.run(command, capture_output=True).returncode == -9
    assert any("incomplete" in name for name in os.listdir(tmp_path / "squares"))
    assert len(load("squares", "train", tmp_path).x) == 300


@pytest.mark.parametrize("fails_before_the_end", [False, True])
def test_load_succeeds_if_another_process_prepares_first(tmp_path, monkeypatch, fails_before_the_end):
    generate = Squares._generate_examples
    others = iter([True])

    def generator(self, *args):
        if next(others, False):
            load("squares", "train", tmp_path)  # completes first
            if fails_before_the_end:
                raise OSError("no space left")
        yield from generate(self, *args)

    monkeypatch.setattr(Squares, "_generate_examples", generator)
    assert len(load("squares", "train", tmp_path).x) == 300


@pytest.mark.parametrize("damage", ["truncate", "remove", "empty"])
def test_load_reports_damaged_files(tmp_path, damage):
    load("squares", "train", tmp_path)
    version = tmp_path / "squares" / "1.0.0"
    (records,) = version.glob("*train*")
    if damage == "truncate":
        records.write_bytes(records.read_bytes()[:10_000])
    else:
        for path in [records] if damage == "remove" else version.iterdir():
            path.unlink()
    with pytest.raises(ValueError, match=r"1\.0\.0 is damaged or incomplete; delete it"):
        load("squares", "train", tmp_path)


def test_importing_scorekit_data_does_not_import_tfds():
    program = "import sys, scorekit.data; sys.exit('tensorflow_datasets' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
