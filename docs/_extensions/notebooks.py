"""The notebooks of ``colabs/`` as pages with their outputs, with links to download them and the wheel they install.

``-D notebooks_execute=1`` executes those that the tests have not executed, in an environment of the wheel alone; the
outputs are kept in ``build/notebooks``. Without it they stand without outputs. With the address of the site, ``-D
html_baseurl=https://...``, notebooks install its wheel from there, and open in Colab.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from urllib.parse import quote

import nbformat
from sphinx.util import logging

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / ".ci"))
from try_wheel import link, needed  # noqa: E402

from scorekit import __version__  # noqa: E402

logger = logging.getLogger(__name__)
FOLDER, INSTALLED = "notebooks", "scorekit[colabs]"
EXECUTED = ROOT / "build" / "notebooks"
"""Where executed notebooks are kept, also by ``tests/docs/test_colabs.py``."""


def build_wheel(folder: Path) -> Path:
    """The wheel, built from a copy of the library, in ``folder``."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT / "scorekit", Path(copy) / "scorekit", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), copy]
        subprocess.run(command, check=True)
    return max(folder.glob("scorekit-*.whl"), key=os.path.getmtime)


def make_environment(folder: Path, wheel: Path, also: tuple[str, ...] = ()) -> Path:
    """An environment without scorekit, in which pip can install ``wheel[colabs]`` without an index; its Python.

    It sees the distributions of this environment that the extra and ``also`` require, as links: no others,
    neither the checkout nor an editable install of it.
    """
    (ours,) = importlib.metadata.distributions(name="scorekit", path=[str(wheel)])
    requires = lambda name: ours.requires if name == "scorekit" else importlib.metadata.requires(name)
    venv.create(folder / "env", symlinks=True)
    links = folder / "links"  # not in the environment: pip does not remove them
    links.mkdir()
    for name in needed(["scorekit[colabs]", "ipykernel", "pip", *also], requires) - {"scorekit"}:
        link(name, links)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    (packages / "links.pth").write_text(f"{links}\n")
    return folder / "env" / "bin" / "python"


def execute(path: Path, python: Path) -> nbformat.NotebookNode:
    """Runs a notebook in its folder with the packages of ``python`` only; returns it with its outputs."""
    from jupyter_client.manager import KernelManager
    from nbclient import NotebookClient

    manager, notebook = KernelManager(), nbformat.read(path, as_version=4)
    manager.kernel_spec.argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client = NotebookClient(notebook, manager, timeout=1200, resources={"metadata": {"path": str(path.parent)}})
    hidden = ("PYTHON", "MPLBACKEND", "SCOREKIT_", "VIRTUAL_ENV")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    try:
        wheels = f"{path.parent} {os.environ.get('PIP_FIND_LINKS', '')}"
        client.execute(env=variables | {"PYTHONNOUSERSITE": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels})
    finally:
        manager.shutdown_kernel(now=True)
    notebook.cells[1].outputs = []  # of pip, where this notebook is the first one
    notebook.metadata["scorekit"] = __version__
    EXECUTED.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, EXECUTED / path.name)
    return notebook


def with_outputs(path: Path) -> nbformat.NotebookNode | None:
    """The notebook with its outputs, if the same code has been executed with this version."""
    if not (EXECUTED / path.name).exists():
        return None
    notebook, executed = (nbformat.read(file, as_version=4) for file in (path, EXECUTED / path.name))
    code, done = ([cell for cell in one.cells if cell.cell_type == "code"] for one in (notebook, executed))
    if executed.metadata.get("scorekit") != __version__ or [c.source for c in code] != [c.source for c in done]:
        return None
    for cell, other in zip(code, done, strict=True):
        cell.outputs = other.outputs
    return notebook


def execute_missing(paths: list[Path], wheel: Path) -> None:
    """Executes the notebooks beside the wheel; one that fails is a warning, and stands on the site without outputs."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        python = make_environment(folder, wheel)
        shutil.copy(wheel, folder)
        for number, path in enumerate(paths, start=1):
            logger.info("executing notebook %d of %d: %s", number, len(paths), path.name)
            try:
                execute(Path(shutil.copy(path, folder)), python)
            except Exception as error:
                logger.warning("%s stands without outputs: %s", path.name, error, type="notebooks")


def set_address(notebook: nbformat.NotebookNode, address: str) -> nbformat.NotebookNode:
    """The notebook, whose first cell of code then installs from ``address``."""
    if address:
        for cell in notebook.cells:
            cell.source = cell.source.replace(f'"{INSTALLED}"', f'"{INSTALLED} @ {address}"')
    return notebook


def make_pages(app) -> None:
    """Writes the notebooks as pages, and, for the site, the files that the pages link to."""
    stored, site, out = sorted((ROOT / "colabs").glob("*.ipynb")), app.config.html_baseurl.rstrip("/"), Path(app.outdir)
    shutil.rmtree(out / "wheels", ignore_errors=True)
    wheel = build_wheel(out / "wheels")
    missing = [path for path in stored if with_outputs(path) is None]
    if missing and app.config.notebooks_execute:
        execute_missing(missing, wheel)
    elif missing:
        logger.info("%d of %d notebooks stand without outputs: -D notebooks_execute=1", len(missing), len(stored))
    pages = Path(app.srcdir) / FOLDER
    for folder in (pages, out / FOLDER):
        folder.mkdir(parents=True, exist_ok=True)
        for path in set(folder.glob("*.ipynb")) - {folder / path.name for path in stored}:
            path.unlink()
    address = f"{site}/wheels/{wheel.name}" if site else ""
    for path in stored:
        plain = set_address(nbformat.read(path, as_version=4), address)
        nbformat.write(plain, out / FOLDER / path.name)
        page = set_address(with_outputs(path) or plain, address)
        links = [f'<a href="{path.name}" download>Download this notebook</a>']
        if site:
            opened = quote(f"{site}/{FOLDER}/{path.name}", safe="")
            links.append(f'<a href="https://colab.research.google.com/#fileId={opened}">Open in Colab</a>')
        else:
            links.append(f'<a href="../wheels/{wheel.name}" download>and the wheel</a>, which it installs')
        title, _, text = page.cells[0].source.partition("\n")
        page.cells[0].source = f'{title}\n\n<p class="notebook-links">{" ".join(links)}</p>\n{text}'
        text = nbformat.writes(page)
        if not (pages / path.name).exists() or (pages / path.name).read_text() != text:
            (pages / path.name).write_text(text)


def setup(app):
    app.add_config_value("notebooks_execute", False, "env", types=[bool])
    app.connect("builder-inited", make_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
