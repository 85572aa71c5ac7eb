"""The notebooks of ``colabs/`` as pages, with links to download them and the wheel of the site, which they install.

With the address of the site, ``-D html_baseurl=https://...``, they install it from there, and open in Colab.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import nbformat

ROOT = Path(__file__).parents[2]
INSTALLED = "scorekit[colabs]"
"""What the first cell of a notebook installs."""


def build_wheel(folder: Path) -> Path:
    """The wheel, built from a copy of the library, in ``folder``."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT / "scorekit", Path(copy) / "scorekit", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), copy]
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("scorekit-*.whl")
    return wheel


def links(name: str, wheel: str, site: str) -> str:
    """The links under the title of a notebook, as HTML."""
    parts = [f'<a href="{name}" download>Download this notebook</a>']
    if site:
        opened = quote(f"{site}/notebooks/{name}", safe="")
        parts.append(f'<a href="https://colab.research.google.com/#fileId={opened}">Open in Colab</a>')
    else:
        parts.append(f'<a href="../wheels/{wheel}" download>and the wheel</a>, for <code>pip install jupyter')
        parts.append(f'"./{wheel}[colabs]"</code>')
    return f'<p class="notebook-links">{" ".join(parts)}</p>'


def make_pages(app) -> None:
    """Writes the notebooks as pages, and, for the site, the files that the pages link to."""
    site, pages, out = app.config.html_baseurl.rstrip("/"), Path(app.srcdir, "notebooks"), Path(app.outdir)
    shutil.rmtree(out / "wheels", ignore_errors=True)
    wheel = build_wheel(out / "wheels").name
    shutil.rmtree(pages, ignore_errors=True)
    for folder in (pages, out / "notebooks"):
        folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "colabs").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if site:
            first = next(cell for cell in notebook.cells if cell.cell_type == "code")
            first.source = first.source.replace(INSTALLED, f"{INSTALLED} @ {site}/wheels/{wheel}")
        nbformat.write(notebook, out / "notebooks" / path.name)
        title, _, text = notebook.cells[0].source.partition("\n")
        notebook.cells[0].source = f"{title}\n\n{links(path.name, wheel, site)}\n{text}"
        nbformat.write(notebook, pages / path.name)


def setup(app):
    app.connect("builder-inited", make_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
