"""Input and output of files."""

from scorekit.io.files import write_atomic

__all__ = ["write_atomic"]
