"""Errors in the content of a file that name the file, and all its faults together."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """A context in which any error in the content of a file becomes a ``ValueError`` that names the file.

    Errors of the file system and of packages that are missing stay as they are.
    """
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        if not isinstance(error, ValueError):
            reason = str(error).strip().split("\n")[0][:300]
            what = f"was written by another version, or damaged ({type(error).__name__}: {reason})"
        elif str(path) in str(error):
            raise
        else:
            what = str(error)
        raise ValueError(f"{path}: {what}") from error


@contextlib.contextmanager
def gathering(problems: list[str]) -> Iterator[None]:
    """A context whose ``ValueError`` is one more problem instead."""
    try:
        yield
    except ValueError as error:
        problems.append(str(error))


def unsupported(config: Mapping[str, Any], only: Mapping[str, Sequence[Any]]) -> list[str]:
    """The fields of which other values are supported alone; a missing field has the first of them."""
    given = {name: config.get(name, allowed[0]) for name, allowed in only.items()}
    return [
        f"{name} must be {' or '.join(map(repr, only[name]))}, got {value!r}"
        for name, value in given.items()
        if value not in only[name]
    ]


def check_none(problems: Sequence[str], separator: str = "; ") -> None:
    """Raises a ``ValueError`` with all problems, if there are some."""
    if problems:
        raise ValueError(separator.join(problems))
