"""Runs whose bits are compared are of the same data, whatever model they are of."""

import pytest

from experiments.benchmarks.sequences.bits import check_same_data
from experiments.cli.command_line import override
from experiments.cli.config import ConfigError
from experiments.configs.images import digits
from experiments.configs.sequences import digits_masked, digits_pixels


def changed(module, *overrides):
    config = module.get_config()
    for text in overrides:
        override(config, *text.split("=", 1))
    return config


def test_models_and_orders_may_differ():
    same = [digits_pixels.get_config(), changed(digits_masked, "order.name=subscale", "seed=3"), digits.get_config()]
    check_same_data(["a", "b", "c"], same)


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        (digits_masked, "data.name=mnist", "config.data.name=sklearn_digits, this one has mnist"),
        (digits_masked, "data.image_size=4", "config.data.image_size=None, this one has 4"),
        (digits, "data.test_split=test[:100]", "config.data.test_split=test, this one has test[:100]"),
        (digits, "data.map.name=pixelated", "config.data.map.name=none, this one has pixelated"),
        (digits_masked, "symbols.name=codes", "config.symbols.name=pixels, this one has codes"),
    ],
)
def test_another_data_set_split_or_condition_is_an_error(module, text, words):
    with pytest.raises(ConfigError) as caught:
        check_same_data(["a", "b"], [digits_pixels.get_config(), changed(module, text)])
    assert str(caught.value) == f"--runs=b: must be of the data of a, with {words}"
