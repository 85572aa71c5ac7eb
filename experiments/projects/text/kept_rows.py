"""Rows of a table in a file, so that a stopped program goes on where it was."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.cli.config import ConfigError
from experiments.cli.outputs import write_results


def check_same(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Validates that rows in a file were made with the settings of this command."""
    if theirs != ours:
        names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        of = lambda settings: {name: settings.get(name) for name in names}
        raise ConfigError(f"{path}: holds rows of {of(theirs)}, not of {of(ours)}; move it away")


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
        self._found = {}
        if path.exists():
            saved = json.loads(path.read_text())
            check_same(path, saved["settings"], self.settings)
            self._found = saved["rows"]
        self._asked: dict[str, Any] = {}

    def row(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The row of this name, from the file or computed now."""
        if name not in self._found:
            print(f"{name} …", flush=True)
            self._found[name] = dict(compute())
            write_results(self.path, {"settings": self.settings, "rows": self._found})
        self._asked[name] = self._found[name]
        return self._found[name]

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows that were asked for, in their order."""
        return self._asked
