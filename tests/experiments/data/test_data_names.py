"""Names of data sets: one line for a path or an unknown name, before anything is loaded."""

import re

import pytest
from programs import changed, error_of

from experiments import data
from experiments.configs.images import smoke


@pytest.mark.parametrize(
    "name", ["mnist", "sklearn_digits:1.0.0", "mnist:3.*.*", "kaggle:set/a-b.c", "cifar10_corrupted/fog_1"]
)
def test_names_of_tfds_are_accepted(monkeypatch, name):
    def open_images(name, split, data_dir):
        raise LookupError(name)

    monkeypatch.setattr("scorekit.data.open_images", open_images)
    with pytest.raises(LookupError, match=re.escape(name)):
        data.build(changed(smoke, f"data.set={name}"))


@pytest.mark.parametrize(
    ("name", "words"),
    [("sklearn_digit", "did you mean sklearn_digits"), ("mnist/x", "mnist/x"), ("../mnist", "never a path")],
)
def test_unknown_names_are_config_errors(name, words):
    assert words in error_of(data.build, changed(smoke, f"data.set={name}"))


def test_unknown_kinds_are_config_errors():
    message = error_of(data.build, changed(smoke, "data.name=foldr"))
    assert message.startswith("config.data.name=foldr: must be one of captioned, folder, ")
    assert message.endswith("(did you mean folder?)")
