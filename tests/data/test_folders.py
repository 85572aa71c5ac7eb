"""Folders of pictures: classes, captions, sizes, modes, and what is wrong with a file."""

import json
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from scorekit.data import folder, read_picture, stream

RNG = np.random.default_rng(0)


def save(path, shape=(6, 8, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    x = RNG.integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(x[..., 0] if shape[2] == 1 else x).save(path)
    return x


def test_classes_are_the_subfolders_in_the_order_of_their_names(tmp_path):
    made = {name: save(tmp_path / name) for name in ("dog/b.png", "cat/deep/2.png", "cat/1.png", "dog/a.PNG")}
    (tmp_path / "dog" / "._b.png").write_bytes(b"")
    (tmp_path / "readme.md").write_text("left out")
    (tmp_path / "empty").mkdir()
    source = folder(tmp_path)
    assert (source.classes, source.num_classes, source.captioned) == (("cat", "dog"), 2, False)
    assert source.shape == (6, 8, 3)
    names = ["cat/1.png", "cat/deep/2.png", "dog/a.PNG", "dog/b.png"]
    assert [int(source[i]["label"]) for i in range(len(source))] == [0, 0, 1, 1]
    for i, name in enumerate(names):
        np.testing.assert_array_equal(source[i]["x"], made[name])
    with pytest.raises(IndexError):
        source[4]


def test_captions_are_texts_beside_the_pictures(tmp_path):
    for name, text in (("1", "one"), ("2", "two, in ünïcode\n")):
        save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
    source = folder(tmp_path)
    assert [source[i]["caption"] for i in range(2)] == ["one", "two, in ünïcode"]
    assert (source.num_classes, source.classes) == (1, ())
    save(tmp_path / "3.png")
    with pytest.raises(ValueError, match=r"3\.png must have a caption, as others do$"):
        folder(tmp_path)[2]
    (batch,) = [next(stream(source, seed=0, batch_size=2, workers=0))]
    assert sorted(batch["caption"]) == ["one", "two, in ünïcode"]


@pytest.mark.parametrize("name", ["captions.jsonl", "metadata.jsonl"])
def test_captions_are_lines_of_a_table(tmp_path, name):
    save(tmp_path / "a" / "1.png")
    line = {"file_name": "a/1.png", "text": "one"}
    (tmp_path / name).write_text(json.dumps(line) + "\n\n")
    assert folder(tmp_path)[0]["caption"] == "one"


def test_text_may_have_a_byte_order_mark_line_separators_and_a_suffix_in_capitals(tmp_path):
    for name in ("1", "2", "3"):
        save(tmp_path / f"{name}.png")
    lines = [{"file_name": "./1.png", "text": "one\u2028and\x85more"}, {"file_name": "2.png", "text": "two"}]
    text = "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (tmp_path / "captions.jsonl").write_text(text, "utf-8-sig", newline="")
    (tmp_path / "3.TXT").write_text("three", "utf-8-sig")
    source = folder(tmp_path)
    assert [source[i]["caption"] for i in range(3)] == ["one\u2028and\x85more", "two", "three"]
    (tmp_path / "3.TXT").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"3\.TXT cannot be read: 'utf-8'"):
        source[2]


def test_a_table_with_the_class_of_some_pictures_only_is_an_error(tmp_path):
    for name in ("cats/1.png", "dogs/1.png", "dogs/2.png"):
        save(tmp_path / name)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "images/cats/1.png", "label": "cat"}')
    with pytest.raises(ValueError, match=rf"must name pictures in {tmp_path}, but line 1 names 'images/cats/1.png'"):
        folder(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "dogs/2.png", "label": "wolf"}')
    source = folder(tmp_path)
    assert (source.classes, int(source[2]["label"])) == (("wolf",), 0)
    with pytest.raises(ValueError, match=r"cats/1\.png must have a class, as others do$"):
        source[0]


def test_pictures_are_resized_and_cropped_about_their_middle(tmp_path):
    x = save(tmp_path / "1.png", (6, 10, 3))
    np.testing.assert_array_equal(folder(tmp_path, size=6)[0]["x"], x[:, 2:8])
    half = folder(tmp_path, size=3)[0]["x"]
    assert half.shape == (3, 3, 3)
    flat = np.full((6, 10, 3), 77, np.uint8)
    flat[:, :2] = flat[:, 8:] = 200  # outside of the square
    Image.fromarray(flat).save(tmp_path / "1.png")
    assert np.unique(folder(tmp_path, size=3)[0]["x"]).tolist() == [77]


def test_modes_are_converted_on_request_only(tmp_path):
    save(tmp_path / "1.png")
    grey = save(tmp_path / "2.png", (6, 8, 1))
    np.testing.assert_array_equal(folder(tmp_path, mode="RGB")[1]["x"], np.repeat(grey, 3, axis=2))
    assert folder(tmp_path, mode="L")[0]["x"].shape == (6, 8, 1)
    clear = Image.new("RGBA", (8, 6), (255, 0, 0, 0))
    clear.putpixel((0, 0), (255, 0, 0, 255))
    clear.save(tmp_path / "3.png")
    shown = folder(tmp_path, mode="RGB")[2]["x"]
    assert shown[0, 0].tolist() == [255, 0, 0]
    assert shown[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("kind", "colour", "other"), [("RGB", (9, 0, 0), (0, 9, 0)), ("L", 9, 5)])
def test_a_transparent_colour_is_white(tmp_path, kind, colour, other):
    picture = Image.new(kind, (8, 6), colour)
    picture.putpixel((0, 0), other)
    picture.save(tmp_path / "1.png", transparency=colour)
    shown = read_picture(tmp_path / "1.png", mode=kind)
    np.testing.assert_array_equal(shown[0, 0], np.ravel(other))
    assert np.unique(shown[1:]).tolist() == [255]
    with pytest.raises(ValueError, match=rf"it is {kind} with a transparent colour; mode='RGB' converts"):
        read_picture(tmp_path / "1.png")


def test_pictures_are_upright(tmp_path):
    x = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(x).save(tmp_path / "1.png", exif=exif)
    np.testing.assert_array_equal(folder(tmp_path)[0]["x"], np.rot90(x, -1))


def test_links_are_followed(tmp_path):
    x = save(tmp_path / "data" / "all" / "a.png")
    save(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "data" / "other").symlink_to("../elsewhere")
    (tmp_path / "data" / "all" / "link.png").symlink_to("a.png")
    source = folder(tmp_path / "data")
    assert (source.classes, len(source)) == (("all", "other"), 3)
    np.testing.assert_array_equal(source[1]["x"], x)


def saved(*args, **options):
    """Saves an image of this mode, size and colour, whatever the name of the file."""
    return lambda path: Image.new(*args).save(path, **{"format": "PNG"} | options)


def cut_off(path):
    save(path, (40, 40, 3))
    path.write_bytes(path.read_bytes()[:2000])


def of_many_pixels(path):
    """Of which the file has none, so that it is small."""
    part = lambda name, data: struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
    header = part(b"IHDR", struct.pack(">LLBBBBB", 14_000, 14_000, 8, 0, 0, 0, 0))
    data = part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data)


BROKEN = [
    (r"must be of the size of the first .*\(6, 8, 3\), got \(7, 8, 3\); s", saved("RGB", (8, 7)), None),
    (r"must be of the mode of the first picture, .* got \(6, 8, 1\); mode=", saved("L", (8, 6)), None),
    (r"must be RGB or L \(grey\), it is RGBA; mode='RGB' converts", saved("RGBA", (8, 6)), None),
    *[("must have 8 bits a channel, it is I;16", saved("I;16", (8, 6)), mode) for mode in ("L", None)],
    ("is not a picture$", lambda path: path.write_text("no picture"), None),
    ("is not a picture$", saved("RGB", (8, 6), format="EPS"), None),
    ("is damaged: ", cut_off, None),
    (r"is damaged: Image size \(196000000 pixels\) exceeds limit", of_many_pixels, None),
    (".*: must be a regular file, it is a pipe", os.mkfifo, None),
    (".*: .* a device", lambda path: path.symlink_to("/dev/zero"), None),
]
"""Words of the error, what writes the second picture, and the mode that is requested."""


@pytest.mark.parametrize(("words", "make", "mode"), BROKEN)
def test_broken_pictures_are_named_and_can_be_skipped(tmp_path, words, make, mode):
    save(tmp_path / "1.png")
    make(tmp_path / "2.png")
    source = folder(tmp_path, mode=mode)
    with pytest.raises(ValueError, match=rf"2\.png *{words}"):
        source[1]
    batches = stream(source, seed=0, batch_size=2, on_error="skip", workers=0)
    np.testing.assert_array_equal(next(batches)["x"], [source[0]["x"]] * 2)
    with pytest.warns(UserWarning, match=r"^1 examples could not be read .*2\.png"):
        batches.close()


LINE = '{"file_name": "a/1.png", "text": "one"}\n'
WRONG_LINES = {
    "hold {": ['{"file_name": "a/1.png"}', "[1]", "{", "[" * 10**6],
    "hold a string as text, got 3": ['{"file_name": "a/1.png", "text": 3}'],
    "hold a string as label, got 3": ['{"file_name": "a/1.png", "label": 3}'],
    "not give a/1.png a second text": ['{"file_name": "./a/1.png", "text": "two"}'],
}


def picture_and(write):
    """Writes a picture in a folder, and a table beside the folder."""

    def make(root):
        save(root / "a" / "1.png")
        write(root / "captions.jsonl")

    return make


def mixed(root):
    for name in ("a/1.png", "2.png"):
        save(root / name)


WRONG_FOLDERS = [
    ("path must be a folder of pictures, got '.*nowhere', which does not exist", lambda root: root.rmdir()),
    (r"path must be a folder of pictures \(.bmp, .* has none", lambda root: None),
    (r"all pictures in subfolders or none; .*2\.png is beside them", mixed),
    (r"captions\.jsonl: must be a regular file, it is a pipe", picture_and(os.mkfifo)),
    *[
        (rf"captions\.jsonl, line 2, must {words}", picture_and(lambda path, line=line: path.write_text(LINE + line)))
        for words, lines in WRONG_LINES.items()
        for line in lines
    ],
]


@pytest.mark.parametrize(("words", "make"), WRONG_FOLDERS)
def test_wrong_folders_are_named(tmp_path, words, make):
    (tmp_path / "nowhere").mkdir()
    make(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=words):
        folder(tmp_path / "nowhere")


def test_one_picture_is_read_as_those_of_folders(tmp_path):
    save(tmp_path / "1.png", (6, 10, 3))
    np.testing.assert_array_equal(read_picture(tmp_path / "1.png", size=4), folder(tmp_path, size=4)[0]["x"])
    assert read_picture(str(tmp_path / "1.png"), mode="L").shape == (6, 10, 1)
