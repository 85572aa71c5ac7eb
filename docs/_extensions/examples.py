"""Examples in docstrings, on lines of up to 120 columns in the source, are shown on lines of 85 as on the pages."""

import subprocess
import sys

from sphinx.util import logging

WIDEST = 85
PROMPTS = (">>> ", "... ")
RUFF = [sys.executable, "-m", "ruff", "format", "--isolated", "--config", "format.docstring-code-format=true", "-"]
RUFF += ["--config", f"format.docstring-code-line-length={WIDEST - len(PROMPTS[0])}"]


def too_wide(lines: list[str]) -> list[str]:
    """The lines of code that do not fit."""
    return [line for line in map(str.strip, lines) if line.startswith(PROMPTS) and len(line) > WIDEST]


def shorten(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Breaks long lines of code as ruff does; what ruff cannot break is a warning."""
    if too_wide(lines):
        text = '"""'.join(["r", "\n".join(lines), "\n"])
        shown = subprocess.run(RUFF, input=text, text=True, stdout=subprocess.PIPE, check=True).stdout
        lines[:] = shown.split('"""')[1].splitlines()
    for line in too_wide(lines):
        logging.getLogger(__name__).warning("%s: code of more than %d columns: %s", name, WIDEST, line)


def setup(app):
    app.connect("autodoc-process-docstring", shorten, priority=300)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
