"""Files: written so that a reader never sees half of one."""

from scorekit.io.files import write_atomic

__all__ = ["write_atomic"]
