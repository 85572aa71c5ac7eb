"""Files that somebody else has written: kinds, links, sizes, JSON and arrays."""

import io
import os
import socket
import zipfile

import numpy as np
import pytest

from scorekit import _files as files
from scorekit.io import parse_json, read_arrays, read_file

MUST = "must be a regular file, it is a "


def test_only_regular_files_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    os.mkfifo("pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        for name, kind in {"pipe": "pipe", "zero": "device", "folder": "folder", "socket": "socket"}.items():
            with pytest.raises(ValueError, match=rf"^{name}: {MUST}{kind}$"):
                read_file(name)
    (tmp_path / "loop").symlink_to("loop")
    for missing in ("nowhere", "loop"):
        with pytest.raises(OSError, match=missing):
            read_file(missing)


def test_sizes_are_checked_before_anything_is_read(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match=r"large: must hold at most 268,435,456 bytes, it holds 1,099,511,627,776$"):
        read_file(tmp_path / "large")


@pytest.mark.parametrize("text", ["[" * 10**6, '{"a":' * 500 + "1" + "}" * 500, "[" * 102 + "]" * 102])
def test_deep_json_is_named(text):
    with pytest.raises(ValueError, match=r"^a must be JSON: nested deeper than 100$"):
        parse_json(text, "a")


def test_json_of_a_hundred_lists_is_read():
    found = parse_json("[" * 101 + "]" * 101, "a")
    for _ in range(100):
        (found,) = found
    assert found == []
    with pytest.raises(ValueError, match=r"^a must be JSON: Expecting value"):
        parse_json(b"", "a")


def of_header(text):
    """The beginning of a file .npy with this header."""
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)


def test_arrays_that_unpack_to_far_more_than_their_file_are_an_error(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(10**5))
    assert read_arrays(path)["x"].shape == (10**5,)
    monkeypatch.setattr(files, "_FREE", 10**4)
    with pytest.raises(ValueError, match=r"a\.npz: must be an .npz file of arrays: it unpacks from .* 100 times"):
        read_arrays(path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000000,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "(" * 5000,
    ],
)
def test_headers_of_arrays_that_are_not_there_are_an_error(tmp_path, header):
    archive(tmp_path / "a.npz", x=of_header(header))
    with pytest.raises(ValueError, match=r"a\.npz: must be an .npz file of arrays: "):
        read_arrays(tmp_path / "a.npz")


def test_arrays_are_read_from_paths_and_open_files(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(3), y=np.zeros((2, 0)))
    found = read_arrays(tmp_path / "a.npz")
    assert found["x"].tolist() == read_arrays(io.BytesIO((tmp_path / "a.npz").read_bytes()))["x"].tolist() == [0, 1, 2]
    assert found["y"].shape == (2, 0)
    np.save(tmp_path / "a.npy", found["x"])
    (tmp_path / "text.npz").write_text("no array")
    for name in ("a.npy", "text.npz"):
        with pytest.raises(ValueError, match=rf"{name}: must be an .npz file of arrays: "):
            read_arrays(tmp_path / name)
