"""Input and output of files."""

from scorekit.io.files import as_path, in_bucket, write_atomic

__all__ = ["as_path", "in_bucket", "write_atomic"]
