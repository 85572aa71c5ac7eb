"""Executes notebooks with the wheel and the packages that it requires, outside of the checkout."""

import importlib.metadata
import os
import re
import sys
import venv
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / ".ci"), str(ROOT / "docs" / "_extensions")]
from try_wheel import link, needed  # noqa: E402

LARGEST = 100_000
"""Bytes of an output that is stored."""
HIDDEN = ("PYTHON", "MPLBACKEND", "SCOREKIT_", "VIRTUAL_ENV", "JAX_DISABLE_MOST_OPTIMIZATIONS")
"""Variables that a reader does not have."""


def make_environment(folder: Path, wheel: Path) -> Path:
    """An environment without scorekit, in which pip can install ``wheel[colabs]`` without an index; its Python.

    It sees the distributions of this environment that the extra requires, as links: no others, neither the checkout
    nor an editable install of it.
    """
    (ours,) = importlib.metadata.distributions(name="scorekit", path=[str(wheel)])
    requires = lambda name: ours.requires if name == "scorekit" else importlib.metadata.requires(name)
    venv.create(folder / "env", symlinks=True)
    links = folder / "links"  # not in the environment: pip does not remove them
    links.mkdir()
    for name in needed(["scorekit[colabs]", "ipykernel", "pip"], requires) - {"scorekit"}:
        link(name, links)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    (packages / "links.pth").write_text(f"{links}\n")
    return folder / "env" / "bin" / "python"


def variables(wheels: Path) -> dict[str, str]:
    """The environment of a reader, for whom pip finds packages in the folder ``wheels`` alone."""
    ours = {"PYTHONNOUSERSITE": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    if flags := os.environ.get("SCOREKIT_TEST_XLA_FLAGS"):
        ours["XLA_FLAGS"] = flags  # one device
    return {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)} | ours


def execute(path: Path, python: Path, folder: Path) -> nbformat.NotebookNode:
    """Runs a notebook in ``folder``, which holds the wheel, with the packages of ``python``, and then its solutions.

    It returns the notebook with its outputs, but without those of pip, and without sounds, which are large.
    """
    from jupyter_client.manager import KernelManager
    from nbclient import NotebookClient

    manager, notebook = KernelManager(), nbformat.read(path, as_version=4)
    cells, metadata = list(notebook.cells), notebook.metadata.copy()
    notebook.cells += map(nbformat.v4.new_code_cell, solutions(notebook))
    manager.kernel_spec.argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client = NotebookClient(notebook, manager, timeout=1200, record_timing=False)
    client.resources = {"metadata": {"path": str(folder)}}
    try:
        client.execute(env=variables(folder))
    finally:
        manager.shutdown_kernel(now=True)
    notebook.cells, notebook.metadata = cells, metadata
    cells[1].outputs = []
    for cell in cells[2:]:
        if "outputs" in cell:
            cell.outputs = [one for one in cell.outputs if len(one.get("data", {}).get("text/html", "")) < LARGEST]
    return notebook


def solutions(notebook: nbformat.NotebookNode) -> list[str]:
    """The code of the folded solutions of the exercises."""
    folded = [cell.source for cell in notebook.cells if "<summary>Solution</summary>" in cell.source]
    return [re.search("^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1] for text in folded]
