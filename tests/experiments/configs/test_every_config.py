"""Every config file is valid for its program."""

import importlib
from pathlib import Path

import pytest

from experiments import configs, tasks, training
from experiments.cli.config import check_config
from experiments.configs.ood import ood_digits

FOLDER = Path(configs.__file__).parent
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.py") if path.stem[0] != "_")


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_valid(name):
    config = importlib.import_module(f"experiments.configs.{name.replace('/', '.')}").get_config()
    if "in_distribution" in config:
        check_config(config, ood_digits.get_config())
        config = config.train
    tasks.check_fields(config)
    tasks.of(config).check(config)
    training.check(config)
