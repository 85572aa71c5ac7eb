"""The code of the pages runs, and their tables say what the code says."""

import pkgutil
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from test_layers import LAYERS

from scorekit import solvers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = {"_build", "jupyter_execute", "notebooks", "projects", "reference"}
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in GENERATED)
READMES = sorted((ROOT / "experiments").rglob("README.md"))
WIDEST = 85
"""Columns of code that a page shows on a screen of 1280 pixels, between the two tables of contents."""
WITHOUT_CODE = {DOCS / "index.md", DOCS / "about/changelog.md", DOCS / "about/contributing.md"}
WITHOUT_CODE |= {*(DOCS / "measurements").glob("*.md")}
SOLVERS = (ROOT / "docs" / "solvers.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in PAGES if path not in WITHOUT_CODE], ids=lambda path: path.stem)
def test_the_code_of_a_page_runs(path):
    """In order and in one namespace; an error shows the line of the page."""
    text = path.read_text()
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    assert blocks, f"{path.name} shows no code"
    for package in {"numpyro", "blackjax"} & set(re.findall(r"^import (\w+)", text, re.MULTILINE)):
        pytest.importorskip(package)  # of its extra
    namespace = {"__name__": path.stem}
    for block in blocks:
        lines = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines + block[1], str(path), "exec"), namespace)


@pytest.mark.parametrize(
    "path", [*PAGES, *READMES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.stem
)
def test_no_code_is_cut(path):
    code = re.findall(r"^```[^\n]*\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    wide = [line for line in "".join(code).splitlines() if len(line) > WIDEST]
    assert not wide, f"{len(wide)} lines of more than {WIDEST} columns:\n" + "\n".join(wide)


def rows():
    table = SOLVERS.partition("## The table")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`[A-Za-z]\w*\(.*?\)`) \|(.*)\|$", table, re.MULTILINE)
    return [(name.strip("`"), *(cell.strip() for cell in rest.split("|"))) for name, rest in lines]


@pytest.mark.parametrize("row", [row for row in rows() if "grids" not in row[0]], ids=lambda row: row[0])
def test_solver_table_of_the_page_is_true(row):
    """Which solvers there are is the table in the docstring of ``scorekit.solvers`` (tests/solvers/test_base.py)."""
    call, order, nfe, noise, state, *_ = row
    solver = eval(call, dict(vars(solvers)))
    assert int(re.findall(r"^\d+", order)[0]) == solver.order
    assert int(nfe) == solver.evals_per_step
    assert (noise == "yes") == solver.stochastic
    assert int(state) == len(jax.tree.leaves(solver.init(jnp.zeros(3))))


def test_the_layers_of_the_architecture_page_are_those_of_the_tests():
    page = (DOCS / "about" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d) \| ([^|]*) \|", page, re.MULTILINE)
    listed = {int(layer): set(re.findall(r"`(\w+)`", names)) for layer, names in rows}
    assert listed == {layer: {name for name in names if name[0] != "_"} for layer, names in LAYERS.items()}


def test_what_the_pages_name_exists():
    for path in (*PAGES, *READMES):
        text = path.read_text()
        for name in re.findall(r"`(scorekit(?:\.\w+)+)", text):
            pkgutil.resolve_name(name)
        for file in re.findall(r"\b(?<!/)(?:experiments|colabs|docs|tests)/[\w/]+\.(?:py|ipynb|md)", text):
            assert (ROOT / file).exists(), file
