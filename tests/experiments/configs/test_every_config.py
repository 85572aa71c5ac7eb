"""Every config file is valid for its program."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments import configs, data, tasks, training
from experiments.cli.config import ConfigError
from experiments.planning.described import describe
from experiments.tasks.sequences import sampling as sequences

FOLDER = Path(configs.__file__).parent
ARGUMENTS = """\
    images/digits:band images/digits:autoencoder images/digits:latents images/mnist:fashion_mnist
    latents/phrases_latent:16khz latents/phrases_of_latents:16khz music/rolls_masked:chorales
    notes/notes_waveform:diffusion notes/sounds:waveform notes/sounds:mel notes/vocoder_student:mean_flow
    phrases/phrases_4khz:16khz phrases/phrases_forcing:causal posterior/two_moons:gaussian_linear
    published/cifar10_vp:sub_vp
    text/contrastive:evaluator text/emoji_16:decoder
""".split()  # noqa: SIM905
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.py") if path.stem[0] != "_")


def data_of(config) -> Any:
    """The data of a config by their shape; those that another run encodes, as they are, or of the shape of its codes
    or embeddings."""
    given = config.get("conditions", {})
    embeddings = given.get("embeddings", {})
    if not embeddings.get("encoder") and "caption" in f"{given.get('vector')} {given.get('tokens')}":
        return data.build(config)
    if not embeddings.get("encoder") and (not config.get("latents") or config.data.name == "folder"):
        return describe(config)
    dataset = data.build(config)
    if config.task == "sequence":
        return SimpleNamespace(inner=dataset, num_samples=dataset.num_samples)
    dataset.shape = (64,) if embeddings.as_examples else dataset.shape
    return dataset


@pytest.mark.parametrize("name", [*NAMES, *ARGUMENTS])
def test_a_config_is_valid(own_files, monkeypatch, name):
    monkeypatch.chdir(own_files)
    file, *argument = name.split(":")
    config = importlib.import_module(f"experiments.configs.{file.replace('/', '.')}").get_config(*argument)
    tasks.check_fields(config)
    training.check(config)
    if config.task == "sequence":
        return sequences.check(config, data_of(config))  # codes need a trained autoencoder
    try:
        tasks.of(config).build(config, data_of(config))
    except ConfigError as error:  # raised last, where captions are read
        if "captions need tokenizers" not in str(error):
            raise


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_argument_of_a_config_changes_it_and_another_is_an_error(name):
    file, argument = name.split(":")
    module = importlib.import_module(f"experiments.configs.{file.replace('/', '.')}")
    assert module.get_config(argument) != module.get_config()
    with pytest.raises(ConfigError, match=rf"{argument}x: must be .*did you mean {argument}\?"):
        module.get_config(f"{argument}x")
