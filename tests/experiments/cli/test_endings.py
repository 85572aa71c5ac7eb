"""What is the user's or the machine's fault ends a program with one line and an exit code; a bug with its traceback."""

import errno

import jax
import pytest

from experiments.cli import endings
from experiments.cli.config import ConfigError

FEWER = "ask for fewer or smaller arrays at once"


def end_with(error, capsys):
    with pytest.raises(SystemExit) as stop, endings.one_line():
        raise error
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return stop.value.code, err.strip()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("config.a=1: must be 2"), 2, "error: config.a=1: must be 2"),
        (endings.ProgramError("it fails; do this"), 1, "error: it fails; do this"),
        (MemoryError("Unable to allocate 4 TiB"), 1, f"error: out of memory (Unable to allocate 4 TiB); {FEWER}"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nand a table of buffers"),
            1,
            f"error: out of memory (RESOURCE_EXHAUSTED: Out of memory); {FEWER}",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "run"), 1, f"error: run: No space left on device; {endings._FULL}"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(error, code, line, capsys):
    assert end_with(error, capsys) == (code, line)


@pytest.mark.parametrize("error", [TypeError("a bug"), FileNotFoundError(errno.ENOENT, "a bug", "/a"), SystemExit(7)])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, endings.one_line():
        raise error
    assert caught.value is error
