"""Captioned emoji: captions, which combinations are held out, archives, and the set on a few pictures of one colour."""

import collections
import io
import json
import math
import subprocess
import tarfile

import numpy as np
import pytest
from PIL import Image

from experiments.data.builders import emoji, emoji_captions
from experiments.data.builders.emoji_captions import captions, held_out, pair_of
from experiments.data.builders.sets import load_captioned
from scorekit.data import load

COLOURS = ("red", "orange", "yellow", "green", "blue", "brown")
NAMES = {f"{colour} {thing}" for colour in COLOURS for thing in ("heart", "circle", "square", "book")}
MOODS = ("crying {}", "kissing {}", "{} with tears of joy", "smiling {} with heart eyes")
NAMES |= {mood.format(thing) for mood in MOODS for thing in ("cat", "face")}
NAMES |= {f"{person} {work}" for person in ("man", "woman") for work in ("pilot", "singer", "golfing", "running")}
NAMES |= {f"{size} {colour} diamond" for size in ("large", "small") for colour in COLOURS}
NAMES |= {"pilot", "person golfing", "hollow red circle", "banana", "cat", "woman running facing right"}


def pairs(names):
    return {pair for name in names if (pair := pair_of(name, NAMES))}


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_combinations_are_held_out_whose_concepts_are_seen_apart_and_no_caption_gives_them_away(monkeypatch, share):
    monkeypatch.setattr(emoji_captions, "SHARE", share)
    test = held_out(NAMES)
    assert test == held_out(sorted(NAMES)) == held_out(sorted(NAMES, reverse=True))  # by the names alone
    assert all(pair_of(name, NAMES) for name in test)
    unseen, seen, everything = pairs(test), pairs(NAMES - test), pairs(NAMES)
    assert not unseen & seen  # so that all sizes of a diamond go together
    assert {pair.family for pair in unseen} == {"colour", "expression", "person"}
    assert not {"face", "person"} & {pair.thing for pair in unseen}
    for concept in ("thing", "attribute"):
        count = lambda given, concept=concept: collections.Counter((p.family, getattr(p, concept)) for p in given)
        assert count(unseen) <= count(seen)
    sizes = collections.Counter(p.family for p in everything if p.thing not in ("face", "person"))
    for family, size in sizes.items():
        assert 1 <= sum(pair.family == family for pair in unseen) <= math.ceil(share * size)
    assert not [(a, b) for a in test for b in NAMES if set(a.split()) < set(b.split())]


PAIRS = {
    "woman running facing right": ("person", "woman", "running"),
    "small orange diamond": ("colour", "diamond", "orange"),
    "light blue heart": ("colour", "heart", "light-blue"),
    "woman red hair": ("colour", "woman hair", "red"),
    "cat with wry smile": ("expression", "cat", "... with wry smile"),
    "singer": ("person", "person", "singer"),
    **dict.fromkeys(("orange", "white circle on black square", "cat", "cat face", "man", "man's shoe", "banana")),
}


def test_names_say_their_combination_and_captions_add_new_keywords_that_no_unseen_name_has():
    assert {name: pair_of(name, NAMES) for name in PAIRS} == PAIRS
    keywords = ["purple-square", "ID", ":D", "identity_card", "identity_card", "words"]
    assert captions("id button", keywords, "A & B", "noto") == (
        "id button, noto style",
        "a noto style emoji: id button, purple square, identity card",
        "a and b: id button, drawn in noto style",
    )
    for name, words, unseen, rest in (
        ("id button", ["purple-square", "words"], "purple square", "words"),
        ("record button", ["black", "circle", "dot"], "black circle", "black, dot"),
        ("purple square", ["purple_square", "shape"], "purple square", "shape"),  # its own name
    ):
        assert captions(name, words, "A & B", "noto", {unseen})[1] == f"a noto style emoji: {name}, {rest}"


GREY = {"google": 40, "twitter": 90}


def picture(grey, code):
    """The code as red, the style as green; the left half is transparent."""
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, 32:] = int(code.split("-")[0], 16) % 256, grey, 0, 255
    content = io.BytesIO()
    Image.fromarray(rgba).save(content, "png")
    return content.getvalue()


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def listed(code, category="Symbols", twitter=True):
    names = {"unified": code, "image": f"{code.lower()}.png", "category": category}
    return {**names, "has_img_google": True, "has_img_twitter": twitter}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emoji")
    named = {f"{0x1F600 + i:X}": name for i, name in enumerate(sorted(NAMES))} | {"2764-FE0F": "red lantern"}
    listing = [*map(listed, named), listed("1F1E6", "Flags"), listed("1F9FF", twitter=False)]
    words = {chr(int(code.split("-")[0], 16)): [name.replace(" ", "_"), "thing"] for code, name in named.items()}
    words |= {chr(0x1F1E6): ["flag"], chr(0x1F9FF): ["bead"]}
    archives = {"keywords": archive(folder / "words.tgz", {emoji._KEYWORDS: json.dumps(words).encode()})}
    for kind, grey in GREY.items():
        files = {f"img/{kind}/64/{one['image']}": picture(grey, one["unified"]) for one in listing}
        archives[kind] = archive(folder / f"{kind}.tgz", {**files, "emoji.json": json.dumps(listing).encode()})
    with pytest.MonkeyPatch.context() as patch:
        kinds = {package: kind for kind, (package, _) in emoji._ARCHIVES.items()}
        patch.setattr(emoji, "fetched", lambda into, package, checksum: archives[kinds[package]])
        load_captioned("captioned_emoji", "train", folder)
    return folder


def test_the_set_has_each_picture_in_both_styles_with_its_captions(folder):
    train, test = (load_captioned("captioned_emoji", split, folder) for split in ("train", "test"))
    assert set(test.names) == held_out({*NAMES, "red lantern"})
    assert set(train.names) | set(test.names) == {*NAMES, "red lantern"}  # neither flags nor what one style lacks
    for part in (train, test):
        assert part.x.shape == (2 * len(set(part.names)), 64, 64, 3)
        assert (part.x[:, :, :32] == 255).all()
        code = [0x64 if name == "red lantern" else sorted(NAMES).index(name) for name in part.names]
        np.testing.assert_array_equal(part.x[:, 5, 40, 0], code)
        np.testing.assert_array_equal(part.x[:, 5, 40, 1], np.array(list(GREY.values()))[part.style])
        for name, style, texts in zip(part.names, part.style, part.captions, strict=True):
            assert texts == captions(name, ["thing"], "Symbols", part.styles[style])
        assert {part.classes[i] for i in part.label} == {"Symbols"}
        assert "Twemoji, copyright Twitter, Inc and other contributors, CC-BY 4.0" in part.credit
    assert load("captioned_emoji", "test", folder).num_classes == 8


def test_archives_are_fetched_by_npm_and_checked_and_errors_are_one_sentence(tmp_path, monkeypatch):
    folder, commands = tmp_path / "downloads" / "npm", []

    def run(command, **_):
        commands.append(command)
        if len(commands) == 1:
            raise subprocess.CalledProcessError(1, "npm", stderr="no\nnetwork")
        (folder / "emoji-datasource-google-16.0.0.tgz").write_bytes(b"other")

    monkeypatch.setattr(subprocess, "run", run)
    for words in (
        r"npm cannot fetch emoji-.* \(no network\)",
        "google-16.0.0.tgz is damaged or another version; delete",
    ):
        with pytest.raises(ValueError, match=f"^name='captioned_emoji' could not be prepared in data_dir=.*{words}.*$"):
            load_captioned("captioned_emoji", "train", tmp_path)
    made = ["npm", "pack", "emoji-datasource-google@16.0.0", "--silent", f"--pack-destination={folder}"]
    assert commands == [made, made]


@pytest.mark.external
@pytest.mark.slow
def test_the_real_set(tmp_path):
    train, test = (load_captioned("captioned_emoji", split, tmp_path) for split in ("train", "test"))
    assert len(train.x) + len(test.x) == 2 * 1636
    assert {"cat with tears of joy", "red apple", "blue circle", "man judge"} <= {*test.names} - {*train.names}
    assert {"face with tears of joy", "green apple", "blue heart", "woman judge"} <= {*train.names}
