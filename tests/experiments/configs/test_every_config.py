"""Every config file with every argument of it: valid for its program, large as it is and small, with its command."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest
from programs import ROOT, error_of

from experiments import data, tasks, training
from experiments.cli.command_line import load_config
from experiments.cli.config import ConfigError
from experiments.planning.described import describe
from experiments.tasks.sequences import sampling as sequences
from experiments.tasks.small import command_of, small

FILES = [path.relative_to(ROOT) for path in (ROOT / "experiments").glob("**/configs/**/[!_]*.py")]
NOT_TABLED = ("base", "distil", "own")


def arguments_of(file: Path) -> list[str]:
    """The arguments that a config file takes."""
    if "argument" not in (ROOT / file).read_text().partition("def get_config(")[2].partition("\n")[0]:
        return []
    allowed = re.search(r"must be (.*), or nothing", error_of(load_config, f"{ROOT / file}:?"))
    assert allowed is not None
    return allowed[1].split(" or ")


NAMES = sorted(
    ":".join([str(file), *argument])
    for file in FILES
    if file.stem not in NOT_TABLED
    for argument in [[], *[[each] for each in arguments_of(file)]]
)


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


@pytest.mark.parametrize("size", ["large", "small"])
@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_valid(own_files, monkeypatch, name, size):
    config = load_config(f"{ROOT}/{name}")
    monkeypatch.chdir(own_files)
    if size == "small":
        small(config)
    tasks.check_fields(config)
    training.check(config)
    if config.task == "sequence" and config.latents:  # codes need a trained autoencoder
        return sequences.check(config, data_of(config))
    try:
        model = tasks.of(config).build(config, data_of(config))
    except ConfigError as error:  # raised last, where captions are read
        if "captions need tokenizers" not in str(error):
            raise
        return
    if size == "small" and not config.get("latents") and config.task != "autoencoder":  # whose codes are of data
        shapes = jax.eval_shape(model.trained.init, jax.random.key(0))
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) < 200_000


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_config_names_its_commands_and_every_config_in_them_is_there(file):
    text = (ROOT / file).read_text()
    commands = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.startswith("    python -m ")]
    named = re.findall(r"--config=(experiments/[\w/.]+\.py(?::\w+)?)(?=\s|$)", " ".join(commands))
    for path in named:
        load_config(f"{ROOT}/{path}")
    if file.stem not in NOT_TABLED:
        assert {str(file), *(f"{file}:{argument}" for argument in arguments_of(file))} <= {*named}


def test_files_are_few():
    assert len(FILES) <= 60


def test_the_command_that_makes_a_run_is_in_the_docstring():
    file = f"{ROOT}/experiments/configs/sequences/digits_codes.py"
    command = command_of(file, "runs/digits_vq")
    assert command is not None
    assert shlex.split(command)[-2:] == ["--config.autoencoder.codes=64", "--config.autoencoder.latent_channels=4"]
    assert command_of(file, "runs/other") is None
