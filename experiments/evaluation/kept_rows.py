"""Rows of a table in a file, so that a stopped program goes on where it was."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.cli.config import Config, ConfigError, leaves
from experiments.models.runs import write_results


def overridden(config: Config, saved: Config) -> dict[str, Any]:
    """The fields of a config, as JSON, that differ from the saved config of the run: rows depend on them too.

    >>> from experiments.configs.points import mixture_2d
    >>> config = mixture_2d.get_config()
    >>> config.sampling.steps = 7
    >>> overridden(config, mixture_2d.get_config())
    {'sampling.steps': 7}
    """
    before = dict(leaves(saved))
    return json.loads(json.dumps({f: v for f, v in leaves(config) if f not in before or before[f] != v}))


def check_same(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Validates that rows in a file were made with the settings of this command."""
    if theirs != ours:
        names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        of = lambda settings: {name: settings.get(name) for name in names}
        raise ConfigError(f"{path}: holds rows of {of(theirs)}, not of {of(ours)}; move it away")


def check_names(given: str, folders: Sequence[Path]) -> None:
    """Validates that folders, after which rows are named, have different names."""
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.name in found:
            raise ConfigError(f"{given}: must be folders of different names, got {found[folder.name]} and {folder}")
        found[folder.name] = folder


def rows_of(
    folder: Path, settings: Mapping[str, Any], same: Mapping[str, str], given: str
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The rows of ``folder/rows.json``, which another command has written, and its settings.

    Args:
      folder: folder of the results of the other command.
      settings: settings of this command.
      same: settings that must be equal for rows to be compared, with their names in errors.
      given: the flag that names the folder, for the error message.
    """
    path = folder / "rows.json"
    if not path.exists():
        raise ConfigError(f"{given}: must be the folder of another evaluation, it has no rows.json")
    saved = json.loads(path.read_text())
    for name, called in same.items():
        theirs, ours = saved["settings"].get(name), settings[name]
        if theirs != ours:
            raise ConfigError(f"{given}: must have the {called} of this evaluation, {ours}, it has {theirs}")
    return saved["rows"], saved["settings"]


class KeptRows:
    """The rows of ``path``, each computed once; it is written after every new row. All have the same settings."""

    def __init__(self, path: Path, settings: Mapping[str, Any]):
        self.path, self.settings = path, dict(settings)
        self._found, self._runs = {}, {}
        if path.exists():
            saved = json.loads(path.read_text())
            check_same(path, saved["settings"], self.settings)
            self._found, self._runs = saved["rows"], saved.get("runs", {})
        self._asked: dict[str, Any] = {}

    def row(self, name: str, compute: Callable[[], Mapping[str, Any]], run: Path | None = None) -> dict[str, Any]:
        """The row of this name, from the file or computed now; ``run`` is the folder of its run."""
        of = None if run is None else str(run)
        if name not in self._found:
            print(f"{name} …", flush=True)
            self._found[name], self._runs[name] = dict(compute()), of
            write_results(self.path, {"settings": self.settings, "rows": self._found, "runs": self._runs})
        elif self._runs.get(name) != of:
            raise ConfigError(f"{self.path}: its row {name!r} is of {self._runs.get(name)}, not of {of}; move it away")
        self._asked[name] = self._found[name]
        return self._found[name]

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows that were asked for, in their order."""
        return self._asked
