"""Archives are fetched by npm where a set lacks them, and where npm cannot, the error is one sentence."""

import subprocess

import pytest

from experiments.data import captioned
from experiments.data.builders import Archive, MissingArchives

ONE = Archive("one", "1", "0" * 64)


def test_each_archive_is_packed_into_the_folder(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    captioned.fetch_archives(
        MissingArchives([ONE, Archive("two", "2.0", "0" * 64)], tmp_path / "npm"), "it lacks archives"
    )
    packed = [
        ["npm", "pack", name, "--silent", f"--pack-destination={tmp_path / 'npm'}"] for name in ("one@1", "two@2.0")
    ]
    assert commands == packed
    assert (tmp_path / "npm").is_dir()


def test_the_set_is_read_again_once_its_archives_are_there(tmp_path, monkeypatch):
    fetched = []

    def load(name, split, data_dir):
        if not fetched:
            raise ValueError("not prepared") from MissingArchives([ONE], tmp_path)
        raise ValueError(f"{name} of {split} in {data_dir}")

    monkeypatch.setattr(captioned.sets, "load_captioned", load)
    monkeypatch.setattr(
        captioned, "fetch_archives", lambda missing, problem: fetched.append((missing.archives, problem))
    )
    with pytest.raises(ValueError, match="captioned_emoji of train in there"):
        captioned.CaptionedPictures(data_dir="there", label="style")
    assert fetched == [((ONE,), "set='captioned_emoji' could not be prepared in data_dir=there")]
