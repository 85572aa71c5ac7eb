"""The notebooks of ``colabs/`` as pages, with the outputs of the tests where these have executed them."""

import json
import shutil
from pathlib import Path

FOLDER = "notebooks"


def copy_notebooks(app) -> None:
    """Takes the copy that ``tests/docs/test_colabs.py`` left in ``build/notebooks`` if it has the same cells."""
    root, folder = Path(app.srcdir).parent, Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    stored = sorted((root / "colabs").glob("*.ipynb"))
    for path in set(folder.glob("*.ipynb")) - {folder / path.name for path in stored}:
        path.unlink()
    for path in stored:
        executed = root / "build" / "notebooks" / path.name
        source = executed if executed.exists() and _cells(executed) == _cells(path) else path
        target = folder / path.name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)


def _cells(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]


def setup(app):
    app.connect("builder-inited", copy_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
