"""Lists the programs: ``python -m experiments``."""

import ast
from pathlib import Path


def programs() -> dict[str, str]:
    """The first line about each program, by its name behind ``python -m``."""
    root, found = Path(__file__).parent, {}
    for path in (path for pattern in ("*.py", "*/**/*.py") for path in sorted(root.glob(pattern))):
        text, name = path.read_text(), ".".join(path.relative_to(root.parent).with_suffix("").parts)
        if "\nif __name__ == " in text and path != Path(__file__):
            found[name.removesuffix(".__main__")] = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    return found


def main() -> None:
    print("\n".join(f"{name}\n    {about}" for name, about in programs().items()))


if __name__ == "__main__":
    main()
