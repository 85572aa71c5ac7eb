"""Reading image sets through TFDS: the digits end to end, damaged files, silence, and error messages."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from experiments.data.builders.digits import SklearnDigits, split_indices  # registers the set
from scorekit.data import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data") / "made" / "on_first_use"


@pytest.fixture(scope="module")
def digits(folder):
    return {split: load("sklearn_digits", split, folder) for split in ("train", "test")}


def rows(x, label):
    """The images and labels of a set as a sorted list of bytes."""
    return sorted(bytes([c]) + image.tobytes() for image, c in zip(x, label, strict=True))


def test_digits_are_the_scans_of_scikit_learn(digits):
    pixels, label = load_digits(return_X_y=True)
    train, test = digits["train"], digits["test"]
    assert (train.x.shape, test.x.shape) == ((1500, 8, 8, 1), (297, 8, 8, 1))
    assert train.x.dtype == np.uint8
    assert train.label.dtype == np.int32
    assert (train.bins, train.num_classes, train.name) == (17, 10, "sklearn_digits")
    both = rows(np.concatenate([train.x, test.x]), np.concatenate([train.label, test.label]))
    assert both == rows(pixels.astype(np.uint8), label)


def test_digits_splits_cover_all_classes_and_parts_of_the_file(digits):
    label = load_digits().target
    train, test = split_indices(label)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(1797))
    assert set(np.bincount(label[test])) == {29, 30}
    per_part = np.histogram(test, bins=13, range=(0, 1797))[0]  # thirteen writers
    assert per_part.min() >= 297 // 13 - 5
    np.testing.assert_array_equal(np.sort(digits["test"].label), np.sort(label[test]))


def test_load_split_strings_select_the_same_examples(digits, folder):
    train = digits["train"]
    head, tail = (load("sklearn_digits", s, str(folder)) for s in ("train[:80%]", "train[80%:]"))
    np.testing.assert_array_equal(np.concatenate([head.x, tail.x]), train.x)
    np.testing.assert_array_equal(np.concatenate([head.label, tail.label]), train.label)
    assert len(load("sklearn_digits", "train+test", folder).x) == 1797


def test_digits_metadata_names_source_and_license(digits, folder):
    info = tfds.builder("sklearn_digits", data_dir=str(folder), file_format="array_record").info
    assert "10.24432/C50P49" in info.citation
    assert "CC BY 4.0" in info.redistribution_info.license


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
    load("sklearn_digits", "train", tmp_path)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.name.split(".")[0] in ("absl", "tensorflow_datasets")]


def fail_after(n, error):
    """A ``_generate_examples`` that raises after n examples."""
    generate = SklearnDigits._generate_examples

    def generator(self, *args):
        for i, example in enumerate(generate(self, *args)):
            if i == n:
                raise error
            yield example

    return generator


def test_load_prepares_again_after_an_interrupt(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(SklearnDigits, "_generate_examples", fail_after(7, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            load("sklearn_digits", "train", tmp_path)
    assert len(load("sklearn_digits", "train", tmp_path).x) == 1500


@pytest.mark.slow
def test_load_prepares_again_after_a_kill(tmp_path):
    program = (
        "import os, signal, sys; from scorekit.data import load\n"
        "from experiments.data.builders import digits\n"
        "def die(self, *args):\n"
        "    yield 0, {'image': __import__('numpy').zeros((8, 8, 1), 'uint8'), 'label': 0}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "digits.SklearnDigits._generate_examples = die\n"
        "load('sklearn_digits', 'train', sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True).returncode == -9
    assert any("incomplete" in name for name in os.listdir(tmp_path / "sklearn_digits"))
    assert len(load("sklearn_digits", "train", tmp_path).x) == 1500


@pytest.mark.parametrize("fails_before_the_end", [False, True])
def test_load_succeeds_if_another_process_prepares_first(tmp_path, monkeypatch, fails_before_the_end):
    generate = SklearnDigits._generate_examples
    others = iter([True])

    def generator(self, *args):
        if next(others, False):
            load("sklearn_digits", "train", tmp_path)  # completes first
            if fails_before_the_end:
                raise OSError("no space left")
        yield from generate(self, *args)

    monkeypatch.setattr(SklearnDigits, "_generate_examples", generator)
    assert len(load("sklearn_digits", "train", tmp_path).x) == 1500


@pytest.mark.parametrize("damage", ["truncate", "remove", "empty"])
def test_load_reports_damaged_files(tmp_path, damage):
    load("sklearn_digits", "train", tmp_path)
    version = tmp_path / "sklearn_digits" / "1.0.0"
    (records,) = version.glob("*train*")
    if damage == "truncate":
        records.write_bytes(records.read_bytes()[:50_000])
    else:
        for path in [records] if damage == "remove" else version.iterdir():
            path.unlink()
    with pytest.raises(ValueError, match=r"1\.0\.0 is damaged or incomplete; delete it"):
        load("sklearn_digits", "train", tmp_path)


def test_importing_scorekit_data_does_not_import_tfds():
    program = "import sys, scorekit.data; sys.exit('tensorflow_datasets' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
