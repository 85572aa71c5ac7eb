"""The site. ``sphinx-build -W --keep-going -b html docs docs/_build`` builds it; it executes no code.

With the address of the site, ``url`` of ``setup.cfg`` or that of Read the Docs, notebooks install the wheel that it
carries, and open in Colab.
"""

import configparser
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_extensions")]

from scorekit import __version__  # noqa: E402

project, author, release, copyright = "scorekit", "The scorekit authors", __version__, "The scorekit authors"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "config_fields",  # the extensions of docs/_extensions
    "reference",
    "notebooks",
    "pages",
]
exclude_patterns = ["_build", "_extensions", "jupyter_execute"]

settings = configparser.ConfigParser()
settings.read(ROOT / "setup.cfg")
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL") or settings.get("metadata", "url", fallback="")
html_theme = "sphinx_book_theme"
html_title = f"scorekit {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"use_download_button": False, "use_fullscreen_button": False, "show_toc_level": 2}
html_theme_options["navbar_persistent"] = []
html_copy_source = html_show_sourcelink = False
html_search_scorer = str(ROOT / "docs" / "_extensions" / "scorer.js")
html_math_renderer = "mathml"
html_sidebars = {"_modules/**": ["navbar-logo.html", "search-button-field.html"]}  # hundreds of pages of sources

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the sections of the docstrings give shapes and units, which types do not
autosummary_generate = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
