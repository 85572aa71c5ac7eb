"""Errors in the content of a file that name the file."""

import contextlib
import os
from collections.abc import Iterator


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
