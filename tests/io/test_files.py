"""Atomic writes and checked reads."""

import os

import pytest

from scorekit.io.files import read_json, write_atomic


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


JSON = {
    "cut off": ('{"a": 1', "must be JSON"),
    "bytes": ("\udcff", "must be JSON"),
    "a list": ("[1]", "must be a JSON object, got list"),
    "deep": ('{"a":' * 10**5, "must be JSON: nested deeper than 100"),
    "NaN": ('{"a": NaN}', "must be JSON: NaN is no number"),
    "digits": ('{"a": ' + "9" * 10**4 + "}", "must be JSON: Exceeds the limit"),
    "large": ('{"a": 1}' + " " * 2**26, "must be JSON: it has more than 64 MiB"),
}


@pytest.mark.parametrize("name", JSON)
def test_what_is_no_object_of_json_is_named(tmp_path, name):
    path, (text, message) = tmp_path / "config.json", JSON[name]
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        read_json(path)


def test_json_is_read_from_regular_files_and_links_to_them(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to(write_atomic(tmp_path / "a.json", '{"a": 1}'))
    for name in ("fifo", "endless", "."):
        with pytest.raises(ValueError, match="must be a regular file"):
            read_json(tmp_path / name)
    assert read_json(tmp_path / "link") == {"a": 1}
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")
