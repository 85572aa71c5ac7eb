"""Every notebook runs from its first cell to its last."""

from pathlib import Path

import nbformat
import pytest
import wheels
from nbclient import NotebookClient

COLABS = sorted((Path(__file__).parent.parent / "colabs").glob("*.ipynb"))
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
    monkeypatch.setenv("XLA_FLAGS", "")  # one device, as a reader has
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    images = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert images, f"{path.name} shows no picture"


def test_there_are_notebooks():
    assert COLABS
