"""``--smoke``: any config as a run of seconds to a few minutes, which shows that all of it works and learns nothing.

Networks are at most as large as :data:`experiments.models.networks.SMALL` says; :data:`FEW` has the other fields. The
command line may change them further: ``--smoke --config.training.steps=12``.
"""

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.cli import flags
from experiments.cli.config import Config, ConfigError
from experiments.models.networks import SMALL

NETWORKS = ("network", "autoencoder", "classifier", "dual_encoder", "transcriber", "translation")
"""The sections that are networks."""
FEW = {
    "training": {"steps": 6, "batch_size": 8, "accumulate": 1, "warmup_steps": 2, "log_every": 2, "sample_every": 3}
    | {"checkpoint_every": 2},
    "sampling": {"steps": 2, "batch_size": 20},
    "evaluation": {"num_samples": 40, "bound_times": 2, "levels": 3, "draws": 1, "shown": 2, "exact_examples": 4}
    | {"observations": 50, "samples": 40, "densities": 4, "compared": 0},
    "data": {"simulations": 2000},
}
"""Fields of a section, which are at most this, where the section has them."""
SLICED = ("captioned", "notes", "performances", "phrases", "rolls", "tfds")
"""Kinds of data of whose splits a part can be taken."""
TRAIN, TEST = "train[:64]", "test[:64]"


def small(config: Config) -> Config:
    """Makes a config small, in place; returns it."""
    for section in NETWORKS:
        if section in config and config.task != "student":  # whose network is that of its teacher
            _limit(config[section], SMALL)
    if "flow_map" in config.get("loss", {}):
        _limit(config.loss.flow_map, SMALL)  # its discriminators
    if config.training.steps is None:  # to be chosen for the data
        config.training.steps = FEW["training"]["steps"]
    for section, most in FEW.items():
        if section in config:
            _limit(config[section], most)
    for name in ("guidance_scales", "step_counts", "temperatures"):
        if name in config.evaluation:
            config.evaluation[name] = config.evaluation[name][:1]
    if config.data.name in SLICED:
        config.data.update(train_split=TRAIN, test_split=TEST)
    return config


def _limit(section: ConfigDict, most: Mapping[str, Any]) -> None:
    for name in {*section} & {*most}:
        value, limit = section[name], most[name]
        if isinstance(value, tuple):
            section[name] = tuple(min(each, limit) for each in value)
        elif value is not None:
            section[name] = min(value, limit)
        elif name != "steps" and section.get_type(name) is not tuple:  # None: as many steps as there are symbols
            section[name] = limit


@contextlib.contextmanager
def needed_runs_named(path: str) -> Iterator[None]:
    """Adds to an error about a run or weights that are not there the command that makes them.

    The docstring of the config file ``path`` has these commands.
    """
    try:
        yield
    except ConfigError as error:
        folder = re.match(r"(?:--)?config\.[\w.]+=(\S+): there (?:is|are) no ", str(error))
        command = folder and command_of(path.partition(".py:")[0].removesuffix(".py") + ".py", folder[1])
        if not command:
            raise
        raise ConfigError(f"{error}: {command}{' --smoke' * flags.smoke()}") from error


def command_of(file: str, folder: str) -> str | None:
    """The command in the docstring of a config file that writes into ``folder``."""
    if not Path(file).is_file():
        return None
    lines = Path(file).read_text().replace("\\\n", " ").splitlines()
    commands = [" ".join(line.split()) for line in lines if line.startswith("    python -m ")]
    wanted = {f"--workdir={folder}", f"--out={folder}"}
    return next((command for command in commands if wanted & {*shlex.split(command)}), None)
