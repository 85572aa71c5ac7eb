"""Notebooks have one form, are stored with their outputs, and run with the wheel alone, outside of the checkout.

The packages that the wheel requires are those of this environment: that pip finds them on an index is not tested.
"""

import base64
import re
import subprocess
import types
from pathlib import Path

import nbformat
import pytest
from execution import LARGEST, ROOT, execute, make_environment, solutions, variables
from notebooks import build_wheel, make_pages

COLABS = sorted((ROOT / "colabs").glob("*.ipynb"))
FIRST = """try:
    import scorekit
except ImportError:  # no release yet? pip install a wheel, or a clone, first
    %pip install -q "scorekit[colabs]\""""
each = pytest.mark.parametrize("path", COLABS, ids=lambda path: path.stem)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with nothing but the wheel."""
    folder = tmp_path_factory.mktemp("notebooks")
    build_wheel(folder)
    return folder


@pytest.fixture(scope="session")
def python(folder, tmp_path_factory):
    for package in ("nbclient", "equinox", "haiku", "pretty_midi"):
        pytest.importorskip(package)  # of the extra docs
    python = make_environment(tmp_path_factory.mktemp("environment"), next(folder.glob("*.whl")))
    tops = ("scorekit", "experiments", "tests", "jax")
    assert seen(python, folder, f"import importlib.util as u; print(*filter(u.find_spec, {tops}))") == "jax\n"
    return python


def seen(python, folder, code):
    """What a program prints in the environment of a notebook."""
    command = [python, "-c", code]
    return subprocess.run(command, cwd=folder, env=variables(folder), check=True, stdout=-1, text=True).stdout


@pytest.mark.slow
@each
def test_notebook_runs(path, folder, python):
    """The first one installs the wheel by its first cell; all are kept in ``build/notebooks``."""
    notebook = execute(path, python, folder)
    kept = ROOT / "build" / "notebooks"
    kept.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, kept / path.name)
    assert seen(python, folder, "import scorekit; print(scorekit.__file__)").startswith(str(python.parents[1]))
    check_outputs(notebook)


def check_outputs(notebook):
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]
    shown = [one.data for one in outputs if "data" in one]
    images = [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
    assert images, "shows no picture"
    assert max(map(len, images)) <= LARGEST
    assert not [data for data in shown if "<audio" in data.get("text/html", "") and "<figcaption>" not in str(data)]


@each
def test_stored_outputs(path):
    check_outputs(nbformat.read(path, as_version=4))


@each
def test_form(path):
    notebook = nbformat.read(path, as_version=4)
    title, first, *others = notebook.cells
    assert len(re.findall("^- ", title.source.partition("**You will learn**")[2], re.MULTILINE)) >= 3
    assert re.search(r"\d minutes? on two CPU cores", title.source)
    assert first.source == FIRST
    for cell in others:
        assert cell.cell_type == "markdown" or len(cell.source.splitlines()) <= 25, cell.source
    text = "\n".join(cell.source for cell in others if cell.cell_type == "markdown")
    assert re.findall("^## .+", text, re.MULTILINE)[-1] == "## Exercises"
    assert len(solutions(notebook)) == 2
    assert notebook.metadata.kernelspec.name == "python3"
    assert "experiments" not in path.read_text(), "a package has no programs of the checkout"


def test_there_are_at_most_ten():
    assert len(COLABS) <= 10


@pytest.mark.parametrize("site", ["", "https://host/sk/"])
def test_the_site_offers_notebooks_and_its_wheel(site, monkeypatch, tmp_path):
    wheel, out = Path("scorekit-1.0-py3-none-any.whl"), tmp_path / "out"
    monkeypatch.setattr("notebooks.build_wheel", lambda folder: wheel)
    config = types.SimpleNamespace(html_baseurl=site)
    make_pages(types.SimpleNamespace(srcdir=tmp_path, outdir=out, config=config))
    for path in COLABS:
        page, offered = (nbformat.read(one / "notebooks" / path.name, 4).cells for one in (tmp_path, out))
        source = f" @ {site}wheels/{wheel}" if site else ""
        assert page[1].source == offered[1].source == FIRST.replace("[colabs]", f"[colabs]{source}")
        assert f'<a href="{path.name}" download>' in page[0].source
        link = f"#fileId=https%3A%2F%2Fhost%2Fsk%2Fnotebooks%2F{path.name}" if site else f'"../wheels/{wheel}"'
        assert link in page[0].source
        assert "<a href" not in offered[0].source
