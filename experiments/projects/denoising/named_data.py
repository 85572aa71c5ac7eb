"""The configs of data that a user names: a folder, a file, a data set, or a config of one."""

import os
import re
from pathlib import Path
from typing import Any

import jax

from experiments import configs
from experiments.cli import command_line
from experiments.cli.config import Config, ConfigError, leaves
from experiments.configs import base
from experiments.data.dataset import Dataset
from experiments.models.devices import param_shapes
from experiments.projects.denoising import advice
from experiments.tasks.diffusion.model import build_model
from scorekit.typing import PyTree

ROOT = Path(configs.__file__).parent
SOUNDS = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".wav")
OF_SETS = {
    "captioned_emoji": "text/contrastive.py",
    "nsynth": "notes/notes.py",
    "soundfont_notes": "notes/notes.py",
    "soundfont_phrases": "phrases/phrases.py",
}
"""The config of a set that is not of images alone and has none of its own."""


def known_config(name: str) -> str | None:
    """The config file that ``--data`` names, by its path, its name or its data set; None if there is none."""
    if name.endswith(".py"):
        return name
    every = {path.stem: path for path in sorted(ROOT.glob("*/*.py")) if path.parent.name != "published"}
    sets_name = re.compile(rf'config\.data(\.(set|name) = |\.update\([^)]*(set|name)=)"{re.escape(name)}"')
    same = [path for path in every.values() if sets_name.search(path.read_text())]
    kind = OF_SETS.get(name.split("/")[0])
    path = every.get(name) or (same[0] if same else kind and ROOT / kind)
    return None if path is None else os.path.relpath(path)


def opened(name: str | None) -> Config:
    """The config that ``--data`` stands for."""
    if not name:
        raise ConfigError("--data=… must be given: a folder of pictures, a tar file, a data set or a config")
    path = Path(name).expanduser()
    first = next((found for found in path.rglob("*") if found.is_file()), path)
    if first.suffix.lower() in SOUNDS:
        raise ConfigError(
            f"--data={name}: it holds sounds ({first.name}): give a config with this folder as data.path, a copy of "
            "experiments/configs/notes/sounds.py, or a set of notes, such as soundfont_notes/4khz (docs/audio.md)"
        )
    if path.is_dir() or path.suffix == ".tar":
        config = base.get_config()
        config.data.update(name="tar" if path.is_file() or any(path.glob("*.tar")) else "folder", path=name)
        return config
    if (found := known_config(name)) is not None:
        of_set: Config = command_line.load_config(found)
        if name.split("/")[0] in OF_SETS:
            of_set.data.set = name
        return of_set
    config = base.get_config()
    config.data.set = name
    if path.suffix or name.startswith(("/", "~", ".")):
        raise ConfigError(f"--data={name}: there is no such folder or file")
    return config


def own_fields(config: Config, path: str) -> dict[str, Any]:
    """The fields of the data that differ from the config file."""
    of_file: Config = command_line.load_config(path)
    theirs = dict(leaves(of_file.data))
    return {f"data.{field}": value for field, value in leaves(config.data) if value != theirs.get(field)}


def param_shapes_of(command: advice.Command, dataset: Dataset) -> PyTree:
    """The shapes of the parameters of a command's network."""
    config = command_line.load_config(command.config)
    for field, value in command.overrides.items():
        command_line.override(config, field, advice.as_text(value))
    model = build_model(config, dataset)
    return param_shapes(config, "network", lambda: model.init(jax.random.key(0)))
