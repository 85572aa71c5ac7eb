"""Every config file is valid for its program."""

import importlib
from pathlib import Path

import pytest

from experiments import configs, data, training
from experiments.cli.config import check_config
from experiments.configs import base, base_classifier, base_contrastive, base_latent, base_transcriber, kinds
from experiments.configs.ood import ood_digits
from experiments.models import autoencoder, checks, classifier, contrastive, transcriber
from experiments.sequences import runs

FOLDER = Path(configs.__file__).parent
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.py") if path.stem[0] != "_")


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_valid(name):
    config = importlib.import_module(f"experiments.configs.{name.replace('/', '.')}").get_config()
    if "in_distribution" in config:
        check_config(config, ood_digits.get_config())
        config = config.train
    kind, fields = checks, base
    if "classifier" in config:
        kind, fields = classifier, base_classifier
    elif "autoencoder" in config:
        kind, fields = autoencoder, base_latent
    elif "dual_encoder" in config:
        kind, fields = contrastive, base_contrastive
    elif "transcriber" in config:
        kind, fields = transcriber, base_transcriber
    if kinds.is_sequence(config):
        runs.check(config)
        return
    fields.check_fields(config)
    data.check(config)
    kind.check(config)
    training.check(config)
