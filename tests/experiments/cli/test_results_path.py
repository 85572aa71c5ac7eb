"""The path of results is checked before anything is computed, and nothing but earlier results is written over."""

from pathlib import Path

import pytest
from absl import flags as absl_flags

from experiments.cli import flags, outputs
from experiments.cli.config import ConfigError


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


@pytest.mark.parametrize(("value", "words"), [("{}/file/x", "--out="), (None, "--workdir=")])
def test_a_folder_that_cannot_be_written_is_a_config_error(out, tmp_path, value, words):
    (tmp_path / "file").write_text("")
    value = value and value.format(tmp_path)
    with pytest.raises(
        ConfigError, match=rf"{words}{tmp_path}/file.*: must be a folder that files can be written into"
    ):
        flags.results(out(value), tmp_path / "file" / "x", ".npz")


def test_a_folder_in_place_of_a_file_is_a_config_error(out, tmp_path):
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(ConfigError, match=r"--out=.*/x: must be the path of a file, .*/x.npz is a folder"):
        flags.results(out(f"{tmp_path}/x"), tmp_path, ".png", ".npz")


def test_a_read_only_folder_is_a_config_error(out, tmp_path, monkeypatch):
    def fail(dir):
        raise PermissionError(13, "Permission denied", f"{dir}/tmp")

    monkeypatch.setattr(flags.tempfile, "TemporaryFile", fail)
    with pytest.raises(ConfigError, match=r"--out=.*: must be a folder .*: Permission denied"):
        flags.results(out(f"{tmp_path}/x"), tmp_path)


@pytest.fixture
def written(out, tmp_path, monkeypatch):
    """Calls ``flags.results`` or ``results_folder`` for ``--out`` and writes files as a program would."""
    replace = []
    monkeypatch.setattr(flags, "overwrite", lambda: bool(replace))

    def write(value, *endings, overwrite=False, kind="", default=None, continues=False):
        replace[:] = [True] * overwrite
        holder = out(f"{tmp_path}/{value}")
        if kind:
            folder = flags.results_folder(holder, default, kind=kind, continues=continues)
            paths = [folder / name for name in endings]
        else:
            paths = [Path(f"{flags.results(holder, default, *endings)}{ending}") for ending in endings]
        for path in paths:
            path.write_text("results")
        outputs.record()

    return write


def saved_run(folder):
    (folder / "checkpoints" / "6").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def contents(folder):
    found = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != outputs.RECORD}
    assert found
    return found


def test_files_of_the_flag_are_replaced_with_overwrite_only(written, tmp_path):
    written("a/x", ".npz", ".png")
    with pytest.raises(ConfigError, match=r"--out=.*/a/x: .*/a/x.npz exists; replace it with --overwrite, or use"):
        written("a/x", ".npz", ".png")
    written("a/x", ".npz", ".png", overwrite=True)
    written("a/y", ".npz")
    written("a/x", ".npz", default=tmp_path / "a" / "x")  # the default: as without the flag


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("value", "endings", "words"),
    [
        ("own/notes", (".npz", ".md"), "own/notes.md was not written by this flag and is kept"),
        ("run/config", (".json",), "run/config.json was not written by this flag and is kept"),
        ("run/checkpoints/x", (".json",), "run/checkpoints is of a run, which alone writes into it"),
        ("link/x", (".json",), "run/checkpoints is of a run, which alone writes into it"),
        ("run/checkpoints/6/new/x", (".json",), "run/checkpoints is of a run, which alone writes into it"),
    ],
)
def test_other_files_are_never_written_over(written, tmp_path, overwrite, value, endings, words):
    saved_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run" / "checkpoints")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.md").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match=f"--out={tmp_path}/{value}: .*{words}"):
        written(value, *endings, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_a_file_that_was_changed_since_is_kept(written, tmp_path):
    written("x", ".md")
    (tmp_path / "x.md").write_text("results, and what I think of them")
    with pytest.raises(ConfigError, match="was not written by this flag and is kept"):
        written("x", ".md", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("own", "must be a new or empty folder, the files in this one are no compositions"),
        ("others", "must be a new or empty folder, the files in this one are no compositions"),
        ("run", "there is a run in this folder, which is kept"),
        ("run/checkpoints", "run/checkpoints is of a run, which alone writes into it"),
        ("run/checkpoints/6", "run/checkpoints is of a run, which alone writes into it"),
    ],
)
def test_a_folder_of_anything_else_is_kept(written, tmp_path, overwrite, value, words):
    saved_run(tmp_path / "run")
    written("others", "0.mid", kind="transcribed performances")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "0.mid").write_text("my song")
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match=f"--out={tmp_path}/{value}: .*{words}"):
        written(value, "0.mid", kind="compositions", overwrite=overwrite)
    assert contents(tmp_path) == before


def test_a_folder_of_the_flag_is_replaced_with_overwrite_or_continued(written, tmp_path):
    (tmp_path / "empty").mkdir()
    for value in ("new/deep", "empty"):
        written(value, "0.mid", kind="compositions")
        with pytest.raises(ConfigError, match=rf"{value} exists; replace it with --overwrite"):
            written(value, "0.mid", kind="compositions")
        written(value, "0.mid", kind="compositions", overwrite=True)
        written(value, "0.mid", kind="compositions", continues=True)


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.png"])
def test_training_keeps_files_of_no_run(tmp_path, name):
    saved_run(tmp_path / "run")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "log.txt").write_text("what the shell writes while it trains")
    for folder in ("new", "missing", "run"):
        outputs.check_run("--workdir=x", tmp_path / folder)
    with pytest.raises(ConfigError, match=r"--workdir=x: .*run/checkpoints is of a run"):
        outputs.check_run("--workdir=x", tmp_path / "run" / "checkpoints")
    (tmp_path / "new" / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"--workdir=x: .*{name} is of no run and is kept"):
        outputs.check_run("--workdir=x", tmp_path / "new")
