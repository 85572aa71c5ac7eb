"""The path of results is checked before anything is computed."""

import pytest
from absl import flags as absl_flags

from experiments.cli import flags
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
