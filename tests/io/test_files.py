"""Atomic writes."""

import pytest

from scorekit.io.files import write_atomic


def test_write_atomic_replaces_files_and_creates_directories(tmp_path):
    path = tmp_path / "a" / "b.txt"
    assert write_atomic(path, "first, longer") == path
    write_atomic(path, "é")
    assert path.read_bytes() == "é".encode()
    write_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_leaves_no_temporary_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", "text")
    assert [x.name for x in tmp_path.iterdir()] == ["folder"]
