"""Names of data sets: one line for a path or an unknown name, before anything is loaded."""

import pytest

from experiments import data
from experiments.cli.config import ConfigError
from experiments.configs.images import smoke


def config_of(name):
    config = smoke.get_config()
    config.data.name = name
    return config


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "", ".", "a b", "mnist/..", "mnist/../x", "a\x00b", "~"])
def test_paths_are_config_errors(name):
    with pytest.raises(ConfigError, match=r"config.data.name=.*: must be the name of a data set, such as sklearn_di"):
        data.check(config_of(name))


@pytest.mark.parametrize(
    "name", ["mnist", "sklearn_digits:1.0.0", "mnist:3.*.*", "kaggle:set/a-b.c", "cifar10_corrupted/fog_1"]
)
def test_names_of_tfds_are_accepted(name):
    data.check(config_of(name))


@pytest.mark.parametrize(("name", "words"), [("sklearn_digit", "did you mean sklearn_digits"), ("mnist/x", "mnist/x")])
def test_unknown_names_are_config_errors(name, words):
    with pytest.raises(ConfigError, match=words):
        data.load(config_of(name))
