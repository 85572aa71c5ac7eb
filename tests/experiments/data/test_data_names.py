"""Names of data sets: one line for a path or an unknown name, before anything is loaded."""

import pytest
from programs import changed, error_of

from experiments import data
from experiments.configs.images import smoke


@pytest.mark.parametrize(
    "name", ["mnist", "sklearn_digits:1.0.0", "mnist:3.*.*", "kaggle:set/a-b.c", "cifar10_corrupted/fog_1"]
)
def test_names_of_tfds_are_accepted(name):
    data.check(changed(smoke, f"data.name={name}"))


@pytest.mark.parametrize(
    ("name", "words"),
    [("sklearn_digit", "did you mean sklearn_digits"), ("mnist/x", "mnist/x"), ("foldr", "did you mean folder?")],
)
def test_unknown_names_are_config_errors(name, words):
    assert words in error_of(data.load, changed(smoke, f"data.name={name}"))
