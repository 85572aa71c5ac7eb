"""The path of results is checked before anything is computed, and nothing but earlier results is written over."""

import re
from pathlib import Path

import pytest
from absl import flags as absl_flags
from programs import error_of

from experiments.cli import flags, outputs


@pytest.fixture
def out():
    """Parses ``--out``; None leaves it unset."""
    values = absl_flags.FlagValues()
    holder = absl_flags.DEFINE_string("out", None, "", flag_values=values)
    values.mark_as_parsed()

    def give(value):
        values["out"].value = value
        return holder

    return give


def test_the_default_and_the_flag(out, tmp_path):
    assert flags.results(out(None), tmp_path / "a" / "b", ".npz") == tmp_path / "a" / "b"
    assert flags.results(out(f"{tmp_path}/c/d"), tmp_path / "a" / "b", ".npz") == tmp_path / "c" / "d"
    assert (tmp_path / "c").is_dir()
    assert list((tmp_path / "c").iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_config_error(out, tmp_path):
    (tmp_path / "file").write_text("")
    for value, flag in ((f"{tmp_path}/file/x", "--out="), (None, "--workdir=")):
        error = error_of(flags.results, out(value), tmp_path / "file" / "x", ".npz")
        assert re.match(f"{flag}{tmp_path}/file.*: must be a folder that files can be written into", error)
    (tmp_path / "x.npz").mkdir()
    error = error_of(flags.results, out(f"{tmp_path}/x"), tmp_path, ".png", ".npz")
    assert error == f"--out={tmp_path}/x: must be the path of a file, {tmp_path}/x.npz is a folder"


@pytest.fixture
def written(out, tmp_path, monkeypatch):
    """Calls ``flags.results`` or ``results_folder`` for ``--out`` and writes files as a program would."""
    replace = []
    monkeypatch.setattr(flags, "overwrite", lambda: bool(replace))

    def write(value, *endings, overwrite=False, folder=False, default=None, continues=""):
        replace[:] = [True] * overwrite
        holder = out(f"{tmp_path}/{value}")
        if folder:
            place = flags.results_folder(holder, default, continues=continues)
            paths = [place / name for name in endings]
        else:
            paths = [Path(f"{flags.results(holder, default, *endings)}{ending}") for ending in endings]
        for path in paths:
            path.write_text("results")

    return write


def saved_run(folder):
    (folder / "checkpoints" / "6").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def contents(folder):
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files
    return files


def test_files_of_the_flag_are_replaced_with_overwrite_only(written, tmp_path):
    written("a/x", ".npz", ".md")
    words = f"--out={tmp_path}/a/x: {tmp_path}/a/x.npz exists; replace it with --overwrite, or use"
    assert error_of(written, "a/x", ".npz", ".md").startswith(words)
    written("a/x", ".npz", ".md", overwrite=True)
    written("a/x", ".npz", default=tmp_path / "a" / "x")  # the default: as without the flag


OF_A_RUN = "run/checkpoints is of a run, which alone writes into it"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("value", "ending", "folder", "words"),
    [
        ("run/config", ".json", False, "run/config.json is of a run, which alone writes it"),
        *[(value, ".json", False, OF_A_RUN) for value in ("run/checkpoints/x", "link/x", "run/checkpoints/6/new/x")],
        ("run", "0.mid", True, "there is a run in this folder, which is kept"),
        *[(value, "0.mid", True, OF_A_RUN) for value in ("run/checkpoints", "run/checkpoints/6")],
    ],
)
def test_a_run_is_never_written_over(written, tmp_path, overwrite, value, ending, folder, words):
    saved_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run" / "checkpoints")
    before = contents(tmp_path)
    error = error_of(written, value, ending, folder=folder, overwrite=overwrite)
    assert error.startswith(f"--out={tmp_path}/{value}: ")
    assert words in error
    assert contents(tmp_path) == before


def test_a_folder_of_the_flag_is_replaced_with_overwrite_and_continued_if_it_is_of_the_program(written, tmp_path):
    (tmp_path / "empty").mkdir()
    for value in ("new/deep", "empty"):
        written(value, "0.mid", folder=True, continues=".own")
        assert f"{value} exists; replace it with --overwrite" in error_of(written, value, "0.mid", folder=True)
        assert "exists; replace" in error_of(written, value, "0.mid", folder=True, continues=".another")
        written(value, "0.mid", folder=True, overwrite=True)
        written(value, "0.mid", folder=True, continues=".own")


def test_training_keeps_files_of_no_run(tmp_path):
    saved_run(tmp_path / "run")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "log.txt").write_text("what the shell writes while it trains")
    for folder in ("new", "missing", "run"):
        outputs.check_run("--workdir=x", tmp_path / folder)
    error = error_of(outputs.check_run, "--workdir=x", tmp_path / "run" / "checkpoints")
    assert re.match("--workdir=x: .*run/checkpoints is of a run", error)
    (tmp_path / "new" / "samples.png").write_text("mine")
    error = error_of(outputs.check_run, "--workdir=x", tmp_path / "new")
    assert re.match("--workdir=x: .*samples.png is of no run and is kept", error)
