"""Compiled programs are kept on disk, so that the second start of a command does not compile again."""

import os
from pathlib import Path

from absl import flags

_CACHE = flags.DEFINE_bool(
    "compilation_cache", True, "Keep compiled programs in ~/.cache/scorekit (or $SCOREKIT_CACHE); single process only."
)


def folder() -> Path:
    """The folder of the cache: ``compiled`` in ``$SCOREKIT_CACHE``, by default ``~/.cache/scorekit``."""
    return Path(os.environ.get("SCOREKIT_CACHE", "~/.cache/scorekit")).expanduser() / "compiled"


def enable(distributed: bool = False) -> bool:
    """Turns the cache on; whether it is on.

    It stays off with ``--nocompilation_cache``, where the environment names a cache of its own
    (``JAX_COMPILATION_CACHE_DIR``), and with several processes, which must all compile the same programs.

    Args:
      distributed: whether this process is one of several.
    """
    if distributed or not _CACHE.value or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return False
    import jax  # late: a command line is parsed without it

    jax.config.update("jax_compilation_cache_dir", str(folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a start has a hundred small programs
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return True
