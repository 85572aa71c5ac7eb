"""How a program ends that cannot go on: one line on stderr and an exit code, without a traceback."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator

from experiments.cli import distributed, interrupts
from experiments.cli.config import ConfigError
from experiments.cli.interrupts import EXIT_CODES


class ProgramError(Exception):
    """A failure whose message, one line, describes it and suggests a remedy; exit code 1."""


_FULL = "free some space or use another folder; the same command continues a training from its newest checkpoint"
_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it readable and writable, or use another path"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EIO), "use another path"),
}


def sentence(error: OSError) -> str | None:
    """The file, its error and a remedy, in one sentence; None for an error outside the file system.

    >>> print(sentence(OSError(errno.ENOSPC, "No space left on device", "/data/run")).partition(";")[0])
    /data/run: No space left on device
    """
    if error.errno not in _ADVICE:
        return None
    path = f"{os.fspath(error.filename)}: " if error.filename else ""
    return f"{path}{os.strerror(error.errno)}; {_ADVICE[error.errno]}"


def _no_memory(error: Exception) -> str | None:
    """A message for an array that does not fit into the memory of the machine or accelerator; None for other errors."""
    words = str(error).splitlines()[:1]
    if not isinstance(error, MemoryError) and not (words and words[0].startswith("RESOURCE_EXHAUSTED")):
        return None
    return f"out of memory ({words[0] if words else 'of the machine'}); ask for fewer or smaller arrays at once"


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turns errors of the user's making or of the machine's into one line on stderr and an exit code.

    A :class:`ConfigError` gives 2; a :class:`ProgramError`, an ``OSError`` such as a full disk, no more memory, or
    another process of the program that has ended, 1; Ctrl-C 130.
    """
    try:
        yield
    except ConfigError as error:
        message, code = f"error: {error}", 2
    except ProgramError as error:
        message, code = f"error: {error}", 1
    except KeyboardInterrupt:
        message, code = "interrupted", EXIT_CODES[signal.SIGINT]
    except Exception as error:
        found = distributed.lost_peer(error) or _no_memory(error)
        if found is None and isinstance(error, OSError):
            found = sentence(error)
        if found is None:
            raise
        message, code = f"error: {found}", 1
    else:
        return
    print(" ".join(message.split("\n")), file=sys.stderr, flush=True)  # messages of libraries may have several lines
    if distributed.is_one_of_several():
        interrupts.leave_with(code)  # in order, this process would wait for the others
    raise SystemExit(code)
