"""Fails if a page of a built site links to a page, picture or heading that is not there: check_links.py FOLDER"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse


class Page(HTMLParser):
    """The links of a page and the names that can be linked to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.names.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def broken(root: Path) -> list[str]:
    """``page: link`` for every link within the site that leads nowhere."""
    pages = {path.resolve(): Page(path) for path in root.rglob("*.html") if "_static" not in path.parts}
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            address, fragment = urldefrag(link)
            if urlparse(address).scheme or address.startswith("//") or link == "#":
                continue
            target = (path.parent / unquote(urlparse(address).path)).resolve() if address else path
            known = pages[target].names if target in pages else None
            if not target.exists() or (fragment and known is not None and unquote(fragment) not in known):
                wrong.append(f"{path.relative_to(root.resolve())}: {link}")
    return wrong


if __name__ == "__main__":
    found = broken(Path(sys.argv[1]))
    print("\n".join(found) or f"all links within {sys.argv[1]} lead somewhere")
    sys.exit(bool(found))
