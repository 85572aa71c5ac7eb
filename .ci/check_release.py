"""Checks before a release: ``python .ci/check_release.py v0.1.0``. The tag is the version, and the changelog is ready.

The newest section of ``CHANGELOG.md`` must be of this version, with a date instead of "unreleased", and not be empty;
``CITATION.cff`` must name the same version.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(root: Path, tag: str) -> list[str]:
    """What is not ready, one sentence each."""
    (version,) = re.findall(r'__version__ = "(.+)"', (root / "scorekit" / "_version.py").read_text())
    found = (
        [] if tag == f"v{version}" else [f"the tag must be v{version}, the version of scorekit/_version.py, got {tag}"]
    )
    head, _, rest = (root / "CHANGELOG.md").read_text().partition("\n## ")[2].partition("\n")
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", head):
        found.append(f"the first section of CHANGELOG.md must be '{version} (year-month-day)', got '{head}'")
    if not re.search(r"^- ", rest.partition("\n## ")[0], re.MULTILINE):
        found.append(f"the section '{head}' of CHANGELOG.md has no entries")
    cited = re.findall(r"^version: (\S+)$", (root / "CITATION.cff").read_text(), re.MULTILINE)
    if cited != [version]:
        found.append(f"CITATION.cff must say 'version: {version}', got {cited}")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(ROOT, sys.argv[1])) or 0)
