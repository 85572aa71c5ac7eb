"""A small config of out-of-distribution detection, without data sets that would have to be fetched."""

import pytest

from experiments.cli.command_line import override
from experiments.configs.ood import ood_digits


@pytest.fixture(scope="module")
def no_fetched_data(tmp_path_factory):
    """An empty cache of fetched data sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCOREKIT_CACHE", str(tmp_path_factory.mktemp("empty")))
        yield


@pytest.fixture(scope="module")
def make_config(no_fetched_data):
    """Makes the config of one Gaussian with an exact denoiser, few images and noise levels; overrides as text."""

    def make(**overrides):
        config = ood_digits.get_config("gaussian")
        fields = {
            "near": "mirrored",
            "far": "photos,mnist",
            "examples": "120",
            "bound_times": "4",
            "path_steps": "6",
            "reconstruction_steps": "3",
            "batch_size": "120",
            "ascent_steps": "50",
            "batches": "1,8",
        }
        for field, text in {**fields, **overrides}.items():
            override(config, field, text)
        return config

    return make


@pytest.fixture
def config(make_config):
    return make_config()
