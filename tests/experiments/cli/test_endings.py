"""What is the user's or the machine's fault ends a program with one line and an exit code; a bug with its traceback."""

import errno
import os
import sys

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
        (endings.ProgramError("two\nlines"), 1, "error: two lines"),
        (MemoryError("Unable to allocate 4 TiB"), 1, f"error: out of memory (Unable to allocate 4 TiB); {FEWER}"),
        (MemoryError(), 1, f"error: out of memory (of the machine); {FEWER}"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nand a table of buffers"),
            1,
            f"error: out of memory (RESOURCE_EXHAUSTED: Out of memory); {FEWER}",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(error, code, line, capsys):
    assert end_with(error, capsys) == (code, line)


@pytest.mark.parametrize("error", [TypeError("a bug"), FileNotFoundError(errno.ENOENT, "a bug", "/a"), SystemExit(7)])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, endings.one_line():
        raise error
    assert caught.value is error


def test_output_that_nothing_reads_ends_without_a_word(monkeypatch, capfd):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as stop, endings.one_line(), endings.closed_output():
            print("a line in the buffer")
        print("and what comes later", flush=True)
    assert stop.value.code == 141
    assert capfd.readouterr() == ("", "")
