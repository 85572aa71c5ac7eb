"""Every notebook runs from its first cell to its last, with the wheel and what it requires, outside of the checkout.

The packages that it requires are those of this environment: that pip finds them on an index is not tested.
"""

import importlib
import os
import shutil
import subprocess
import types
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
COLABS = sorted((ROOT / "colabs").glob("*.ipynb"))


@pytest.fixture(scope="session")
def site():
    """The extension of the site that executes notebooks and keeps their outputs in ``build/notebooks``."""
    for package in ("nbclient", "sphinx", "equinox", "pretty_midi"):
        pytest.importorskip(package)  # of the extra docs
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "_extensions"))
        yield importlib.import_module("notebooks")


@pytest.fixture(scope="session")
def folder(site, tmp_path_factory):
    """A folder with nothing but the wheel."""
    folder = tmp_path_factory.mktemp("notebooks")
    site.build_wheel(folder)
    return folder


@pytest.fixture(scope="session")
def python(site, folder, tmp_path_factory):
    (wheel,) = folder.glob("*.whl")
    python = site.make_environment(tmp_path_factory.mktemp("environment"), wheel)
    seen = f"import importlib.util as u; print(*filter(u.find_spec, {('scorekit', 'experiments', 'tests', 'jax')}))"
    found = subprocess.run([python, "-c", seen], cwd=folder, check=True, capture_output=True, text=True).stdout
    assert found.split() == ["jax"]
    return python


@pytest.mark.slow
@pytest.mark.parametrize("path", COLABS, ids=lambda path: path.stem)
def test_notebook_runs(path, site, folder, python, monkeypatch):
    """The first one installs the wheel, which lies beside it, by its first cell."""
    monkeypatch.setenv("XLA_FLAGS", os.environ["SCOREKIT_TEST_XLA_FLAGS"])  # one device, as a reader has
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)  # notebooks train for minutes
    notebook = site.execute(Path(shutil.copy(path, folder)), python)
    shown = [out["data"] for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out]
    assert any("image/png" in data for data in shown), f"{path.name} shows no picture"
    for data in shown:
        assert "<audio" not in data.get("text/html", "") or "<figcaption>" in data["text/html"], (
            "a sound has no caption"
        )
    where = "import scorekit; print(scorekit.__file__)"
    found = subprocess.run([python, "-c", where], cwd=folder, check=True, capture_output=True, text=True).stdout
    assert found.startswith(str(python.parents[1]))


def code(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_first_cells_are_equal():
    assert len({code(path)[0] for path in COLABS}) == 1


@pytest.mark.parametrize("path", COLABS, ids=lambda path: path.stem)
def test_notebooks_name_no_programs_of_a_checkout(path):
    """A package has none of them: neither to import nor to read on with."""
    assert "experiments" not in path.read_text()


def test_the_site_offers_notebooks_that_install_its_wheel(site, monkeypatch, tmp_path):
    wheel, out = "scorekit-1.0-py3-none-any.whl", tmp_path / "out"
    monkeypatch.setattr(site, "build_wheel", lambda folder: folder / wheel)
    config = types.SimpleNamespace(html_baseurl="https://host/sk/", notebooks_execute=False)
    site.make_pages(types.SimpleNamespace(srcdir=tmp_path, outdir=out, config=config))
    for path in COLABS:
        for written in (out, tmp_path):
            installed = f'"scorekit[colabs] @ https://host/sk/wheels/{wheel}"'
            assert installed in code(written / "notebooks" / path.name)[0]
        page = nbformat.read(tmp_path / "notebooks" / path.name, as_version=4).cells[0].source
        assert f"#fileId=https%3A%2F%2Fhost%2Fsk%2Fnotebooks%2F{path.name}" in page


def test_the_site_says_which_notebook_it_executes(site, monkeypatch, tmp_path):
    said, wheel = [], tmp_path / "wheel.whl"
    wheel.touch()
    monkeypatch.setattr(site, "make_environment", lambda *_: None)
    monkeypatch.setattr(site, "execute", lambda path, python: said.append(path.name))
    monkeypatch.setattr(site.logger, "info", lambda text, *values: said.append(text % values))
    site.execute_missing(COLABS[:2], wheel)
    first, second = (path.name for path in COLABS[:2])
    assert said[::2] == [f"executing notebook 1 of 2: {first}", f"executing notebook 2 of 2: {second}"]
    assert said[1::2] == [first, second]
