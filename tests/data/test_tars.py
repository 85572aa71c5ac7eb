"""Tar files in the layout of WebDataset: random access, the index, and damage."""

import contextlib
import io
import json
import os
import re
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image

from scorekit.data import _records, stream, tar
from scorekit.data import _tar_files as module

RNG = np.random.default_rng(0)


def encoded(x):
    content = io.BytesIO()
    Image.fromarray(x).save(content, "png")
    return content.getvalue()


def png(shape=(4, 5, 3)):
    x = RNG.integers(0, 256, shape).astype(np.uint8)
    return x, encoded(x)


def write(path, members, mode="w"):
    with tarfile.open(path, mode) as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def shards(tmp_path):
    """Two tar files of 5 and 3 examples, and the images."""
    images, paths = [], []
    for shard, count in enumerate((5, 3)):
        members = [("notes.md", b"no example")]
        for i in range(count):
            x, content = png()
            images.append(x)
            parts = [
                (f"d/{i:04}.png", content),
                (f"d/{i:04}.cls", b"%d\n" % (len(images) % 4)),
                (f"d/{i:04}.txt", f"picture {len(images) - 1}".encode()),
                (f"d/{i:04}.seg.png", content),
            ]
            members += parts if i % 2 else parts[::-1]
        paths.append(write(tmp_path / f"{shard}.tar", members))
    return paths, np.stack(images)


def test_random_access_is_sequential_reading(shards):
    paths, images = shards
    source = tar(paths)
    assert (len(source), source.num_classes, source.shape) == (8, 4, (4, 5, 3))
    sequential = [source[i] for i in range(8)]
    np.testing.assert_array_equal([e["x"] for e in sequential], images)
    assert [int(e["label"]) for e in sequential] == [1, 2, 3, 0, 1, 2, 3, 0]
    for i in RNG.permutation(8):
        np.testing.assert_array_equal(source[i]["x"], images[i])
        assert source[i]["caption"] == f"picture {i}"
    with contextlib.closing(stream(source, seed=0, batch_size=8, workers=2)) as batches:  # its threads read ahead
        batch = next(batches)
    order = [int(caption.split()[1]) for caption in batch["caption"]]
    np.testing.assert_array_equal(batch["x"], images[order])


def test_only_the_picture_of_an_example_is_read(shards, monkeypatch):
    paths, images = shards
    source, spans = tar(paths), []
    source[0]  # and with it the shape of all
    read, part = module._read, _records.Span
    here = threading.get_ident()  # a stream that another test has closed may still read ahead in its threads
    note = lambda span: spans.append(span) if threading.get_ident() == here else None
    monkeypatch.setattr(module, "_read", lambda file, *span: note(span) or read(file, *span))
    monkeypatch.setattr(_records, "Span", lambda path, *span: note(span) or part(path, *span))
    source[6]
    assert [size for _, size in spans] == [len("picture 6"), -1, len(encoded(images[6]))]


def test_the_index_is_kept_until_the_file_changes_or_it_is_damaged(shards, monkeypatch, tmp_path):
    paths, images = shards
    tar(paths)
    scans, scan = [], module._scan
    monkeypatch.setattr(module, "_scan", lambda path, suffixes: scans.append(path) or scan(path, suffixes))
    np.testing.assert_array_equal(tar(paths)[7]["x"], images[7])
    assert scans == []
    os.utime(paths[1], ns=(1, 1))
    tar(paths)
    assert scans == [paths[1]]
    kept = paths[0].with_name("0.tar.index.json")
    damages = [lambda text=text: kept.write_text(text) for text in ("{", "[]", '{"stamp": 0}', "[" * 10**5)]
    damages += [lambda: os.mkfifo(kept), lambda: kept.symlink_to("/dev/zero")]
    for damage in damages:
        kept.unlink()
        damage()
        np.testing.assert_array_equal(tar(paths[0])[0]["x"], images[0])
        assert kept.is_file()
        assert not kept.is_symlink()
    assert scans == [paths[1], *[paths[0]] * 6]
    for _ in range(2):
        assert len(tar(paths, index_folder=tmp_path / "cache")) == 8
    assert scans[7:] == paths
    assert len(os.listdir(tmp_path / "cache")) == 2


def test_json_holds_a_class_and_a_caption(tmp_path):
    fields = {"label": 2, "text": "a cat"}
    members = [
        ("1.png", png()[1]),
        ("1.json", json.dumps(fields).encode()),
        ("2.png", png()[1]),
        ("2.json", b'{"caption": "a dog"}'),
        ("2.cls", b"1"),
    ]
    source = tar(write(tmp_path / "a.tar", members))
    assert [(int(source[i]["label"]), source[i]["caption"]) for i in range(2)] == [(2, "a cat"), (1, "a dog")]


def test_suffixes_ignore_case_and_texts_may_have_a_byte_order_mark(tmp_path):
    parts = [("0.PNG", png()[1]), ("0.TXT", b"\xef\xbb\xbfzero"), ("0.Cls", b"2")]
    example = tar(write(tmp_path / "a.tar", parts))[0]
    assert (example["caption"], int(example["label"])) == ("zero", 2)


def test_an_example_without_a_class_is_an_error_where_others_have_the_class_0(tmp_path):
    source = tar(write(tmp_path / "a.tar", [("1.png", png()[1]), ("1.cls", b"0"), ("2.png", png()[1])]))
    with pytest.raises(ValueError, match="2 must have a class, as others do"):
        source[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"png": b"no picture"}, "a.tar: 2 is not a picture"),
        ({"png": png()[1][:-30]}, "a.tar: 2 is damaged: "),
        ({"png": png((4, 4, 3))[1]}, "a.tar: 2 must be of the size of the first"),
        *[({"cls": text}, "2 must have an integer >= 0 as class") for text in (b"-1", b"cat")],
        *[({"cls": b"%d" % number}, "as class in .* and < 1,048,576") for number in (2**20, 2**63)],
        *[
            ({"cls": None, "json": text}, "2 must have an integer >= 0 as class")
            for text in (b"{", b"[" * 10**5, b'{"label": 1e9}')
        ],
        ({"cls": None}, "2 must have a class, as others do"),
        ({"txt": None}, "2 must have a caption, as others do"),
        ({"txt": b"\xff"}, "2 cannot be read: 'utf-8'"),
    ],
)
def test_a_broken_example_is_named_and_can_be_skipped(tmp_path, changes, words):
    good = [("1.png", png()[1]), ("1.cls", b"1"), ("1.txt", b"one")]
    bad = {"png": png()[1], "cls": b"1", "txt": b""} | changes
    members = [(f"2.{kind}", content) for kind, content in bad.items() if content is not None]
    source = tar(write(tmp_path / "a.tar", [*good, *members]))
    with pytest.raises(ValueError, match=words):
        source[1]
    batches = stream(source, seed=0, batch_size=2, on_error="skip", workers=0)
    assert next(batches)["caption"].tolist() == ["one", "one"]
    with pytest.warns(UserWarning, match=words):
        batches.close()


def test_damaged_tar_files_are_named(tmp_path, shards):
    (path, _), _ = shards
    content = path.read_bytes()
    with tarfile.open(path) as file:
        end = [member.offset_data for member in file][-1] + 512
    bad = tmp_path / "bad.tar"
    cuts = {
        "in a member": content[:2100],
        "in a header": content[: 512 * 3 + 100],
        "no end": content[:end],
        "header overwritten": content[:1024] + b"\x07" * 512 + content[1536:],
        "no tar": b"hello" * 1000,
        "empty": b"",
    }
    for cut, damaged in cuts.items():
        bad.write_bytes(damaged)
        try:
            message = f"{len(tar(bad))} examples"
        except ValueError as error:
            message = str(error)
        assert re.search(r"bad\.tar must be a complete, uncompressed tar file: .+$", message), f"{cut}: {message}"
    write(tmp_path / "a.tar.gz", [("1.png", png()[1])], "w:gz")
    with pytest.raises(ValueError, match=r"a\.tar\.gz must be a complete, uncompressed tar file"):
        tar(tmp_path / "a.tar.gz")
    with pytest.raises(ValueError, match=r"paths must be a folder of tar files, .* got '.*nowhere.tar'"):
        tar(tmp_path / "nowhere.tar")
    with pytest.raises(ValueError, match=r"paths must be tar files with pictures"):
        tar(write(tmp_path / "b.tar", [("1.txt", b"")]))
    with pytest.raises(ValueError, match="1 must be the key of one example, there are two"):
        tar(write(tmp_path / "b.tar", [("1.png", b""), ("1.jpg", b"")]))
    with pytest.raises(ValueError, match="paths must name at least one tar file"):
        tar([])


def test_a_file_that_became_shorter_is_named(shards):
    (path, _), _ = shards
    source = tar(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ValueError, match=r"0\.tar: d/0004 cannot be read: the file has become shorter"):
        source[4]


def linked(path, name, target, kind):
    """The tar file with a link at its end."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    with tarfile.open(path, "a") as file:
        file.addfile(info)
    return path


def test_hard_links_are_the_files_that_they_name(tmp_path):
    x, content = png()
    path = write(tmp_path / "a.tar", [("a/1.png", content), ("a/1.cls", b"3")])
    linked(path, "b/2.png", "a/1.png", tarfile.LNKTYPE)
    source = tar(linked(path, "b/2.cls", "a/1.cls", tarfile.LNKTYPE))
    assert [int(source[i]["label"]) for i in range(len(source))] == [3, 3]
    np.testing.assert_array_equal(source[1]["x"], x)
    assert len(tar(path)) == 2  # from its index


@pytest.mark.parametrize(
    ("name", "target", "kind"),
    [
        ("2.png", "later.png", tarfile.LNKTYPE),
        ("2.png", "1.png", tarfile.SYMTYPE),
        ("1.cls", "/etc/passwd", tarfile.SYMTYPE),
        ("2.png", "", tarfile.FIFOTYPE),
        ("1.txt", "", tarfile.CHRTYPE),
    ],
)
def test_what_is_no_file_in_a_tar_file_is_named(tmp_path, name, target, kind):
    path = linked(write(tmp_path / "a.tar", [("1.png", png()[1])]), name, target, kind)
    with pytest.raises(ValueError, match=rf"a\.tar: {name} must be a file, or a hard link to one before it"):
        tar(path)


def header(**fields):
    """A header with a size or a kind that the module tarfile does not write."""
    block = bytearray(tarfile.TarInfo(fields.get("name", "2.png")).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157] = fields["size"], fields.get("kind", b"0")
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(block)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": b"\xff" * 8 + (-512 & 0xFFFFFFFF).to_bytes(4, "big"), "name": ".2.png"},
        {"size": b"\x80" + (2**62).to_bytes(11, "big"), "kind": b"L"},
        {"size": b"\xff" * 12, "kind": b"x"},
        {"size": b"00000000000\0", "kind": b"S"},
    ],
)
def test_headers_of_no_sense_are_an_error(tmp_path, fields):
    """The first would be read for ever."""
    good = write(tmp_path / "a.tar", [("1.png", png()[1])]).read_bytes()
    content = good[: good.index(bytes(1024)) // 512 * 512 + 512]
    (tmp_path / "a.tar").write_bytes(content + header(**fields) + bytes(1024))
    with pytest.raises(ValueError, match=r"a\.tar(:| must be a complete, uncompressed tar file)"):
        tar(tmp_path / "a.tar")


def test_large_texts_of_examples_are_named(tmp_path):
    path = write(tmp_path / "a.tar", [("1.png", png()[1]), ("1.txt", bytes(2**24 + 1))])
    with pytest.raises(ValueError, match=r"a\.tar: 1 cannot be read: a text must hold at most 16,777,216 bytes"):
        tar(path)[0]
