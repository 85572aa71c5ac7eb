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
def test_combinations_are_held_out_whose_concepts_are_seen_apart(monkeypatch, share):
    monkeypatch.setattr(emoji_captions, "SHARE", share)
    test = held_out(NAMES)
    assert all(pair_of(name, NAMES) for name in test)
    found, seen, everything = pairs(test), pairs(NAMES - test), pairs(NAMES)
    assert not found & seen
    assert {pair.family for pair in found} == {"colour", "expression", "person"}
    assert not {"face", "person"} & {pair.thing for pair in found}
    for concept in ("thing", "attribute"):
        count = lambda given, concept=concept: collections.Counter((p.family, getattr(p, concept)) for p in given)
        of_test, of_train = count(found), count(seen)
        assert all(of_train[one] >= of_test[one] for one in of_test)
    sizes = collections.Counter(p.family for p in everything if p.thing not in ("face", "person"))
    for family, size in sizes.items():
        assert 1 <= sum(pair.family == family for pair in found) <= math.ceil(share * size)


def test_the_split_depends_on_the_names_alone_and_no_caption_gives_it_away():
    test = held_out(NAMES)
    assert test == held_out(sorted(NAMES)) == held_out(sorted(NAMES, reverse=True)) == held_out([*NAMES, *NAMES])
    assert not [(a, b) for a in test for b in NAMES if set(a.split()) < set(b.split())]
    diamonds = {name for name in test if name.endswith("diamond")}  # all sizes of a combination go together
    assert diamonds
    assert {" ".join((size, *name.split()[1:])) for name in diamonds for size in ("large", "small")} == diamonds


PAIRS = {
    "woman running facing right": ("person", "woman", "running"),
    "small orange diamond": ("colour", "diamond", "orange"),
    "light blue heart": ("colour", "heart", "light-blue"),
    "woman red hair": ("colour", "woman hair", "red"),
    "cat with wry smile": ("expression", "cat", "... with wry smile"),
    "singer": ("person", "person", "singer"),
    **dict.fromkeys(("orange", "white circle on black square", "cat", "cat face", "man", "man's shoe", "banana")),
}


def test_names_say_their_combination():
    assert {name: pair_of(name, NAMES) for name in PAIRS} == PAIRS


def test_captions_say_name_group_style_and_new_keywords():
    found = captions(
        "id button", ["purple-square", "ID", ":D", "identity_card", "identity_card", "words"], "A & B", "noto"
    )
    assert found == (
        "id button, noto style",
        "a noto style emoji: id button, purple square, identity card",
        "a and b: id button, drawn in noto style",
    )
    unseen = captions("id button", ["purple-square", "words"], "A & B", "noto", {"purple square"})
    assert unseen[1] == "a noto style emoji: id button, words"
    apart = captions("record button", ["black", "circle", "dot"], "A & B", "noto", {"black circle"})
    assert apart[1] == "a noto style emoji: record button, black, dot"
    held = captions("purple square", ["purple_square", "shape"], "A & B", "twitter", {"purple square"})
    assert held[1] == "a twitter style emoji: purple square, shape"


# ---- the set, on a few pictures ------------------------------------------------------------------------------------

GREY = {"google": 40, "twitter": 90}


def picture(grey, file):
    """The number of the file as red, the style as green; the left half is transparent."""
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, 32:] = int(file.split(".")[0], 16) % 256, grey, 0, 255
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


def listed(code, name, category="Symbols", twitter=True):
    facts = {"unified": code, "image": f"{code.lower()}.png", "category": category}
    return {**facts, "has_img_google": True, "has_img_twitter": twitter}, name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emoji")
    listing = [listed(f"{0x1F600 + i:X}", name) for i, name in enumerate(sorted(NAMES))]
    listing += [
        listed("2764-FE0F", "red lantern"),
        listed("1F1E6", "flag", "Flags"),
        listed("1F9FF", "bead", twitter=False),
    ]
    words = {"\u2764": ["red_lantern"]}
    words |= {chr(int(one["unified"].split("-")[0], 16)): [name.replace(" ", "_"), "thing"] for one, name in listing}
    named = {"keywords": archive(folder / "words.tgz", {emoji._KEYWORDS: json.dumps(words).encode()})}
    for kind, grey in GREY.items():
        files = {f"img/{kind}/64/{one['image']}": picture(grey, one["image"].split("-")[0]) for one, _ in listing}
        files["emoji.json"] = json.dumps([one for one, _ in listing]).encode()
        named[kind] = archive(folder / f"{kind}.tgz", files)
    with pytest.MonkeyPatch.context() as patch:
        kinds = {package: kind for kind, (package, _) in emoji._ARCHIVES.items()}
        patch.setattr(emoji, "fetched", lambda into, package, checksum: named[kinds[package]])
        load_captioned("captioned_emoji", "train", folder)
    return folder


def test_the_set_has_each_picture_in_both_styles_with_its_captions(folder):
    train, test = (load_captioned("captioned_emoji", split, folder) for split in ("train", "test"))
    assert set(test.names) == held_out({*NAMES, "red lantern"})
    assert set(train.names) | set(test.names) == {*NAMES, "red lantern"}  # neither flags nor what one style lacks
    for found in (train, test):
        assert found.x.shape == (2 * len(set(found.names)), 64, 64, 3)
        assert (found.x[:, :, :32] == 255).all()
        code = [0x64 if name == "red lantern" else sorted(NAMES).index(name) for name in found.names]
        np.testing.assert_array_equal(found.x[:, 5, 40, 0], code)
        np.testing.assert_array_equal(found.x[:, 5, 40, 1], np.array(list(GREY.values()))[found.style])
        for name, style, texts in zip(found.names, found.style, found.captions, strict=True):
            assert texts == captions(name, ["thing"], "Symbols", found.styles[style])
        assert {found.classes[i] for i in found.label} == {"Symbols"}
        assert "Twemoji, copyright Twitter, Inc and other contributors, CC-BY 4.0" in found.credit
    assert load("captioned_emoji", "test", folder).num_classes == 8


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (None, r"emoji-datasource-google-16.0.0.tgz is damaged or another version; delete it"),
        (FileNotFoundError(), "fetched by npm: install Node.js, or copy emoji-.*tgz, which `npm pack emoji-.*` makes"),
        (subprocess.CalledProcessError(1, "npm", stderr="no\nnetwork"), r"npm cannot fetch emoji-.* \(no network\)"),
    ],
)
def test_archives_are_fetched_by_npm_or_the_error_is_one_sentence(tmp_path, monkeypatch, raised, words):
    commands = []

    def run(command, **_):
        commands.append(command)
        if raised is not None:
            raise raised
        (tmp_path / "downloads" / "npm" / "emoji-datasource-google-16.0.0.tgz").write_bytes(b"other")

    monkeypatch.setattr(subprocess, "run", run)
    must = "^name='captioned_emoji' could not be prepared in data_dir="
    with pytest.raises(ValueError, match=f"{must}.*{words}") as error:
        load_captioned("captioned_emoji", "train", tmp_path)
    assert "\n" not in str(error.value)
    folder = tmp_path / "downloads" / "npm"
    assert commands == [["npm", "pack", "emoji-datasource-google@16.0.0", "--silent", f"--pack-destination={folder}"]]


@pytest.mark.external
@pytest.mark.slow
def test_the_real_set(tmp_path):
    train, test = (load_captioned("captioned_emoji", split, tmp_path) for split in ("train", "test"))
    assert len(train.x) + len(test.x) == 2 * 1636
    assert not set(train.names) & set(test.names)
    assert {"cat with tears of joy", "red apple", "blue circle", "man judge"} <= set(test.names)
    assert {"face with tears of joy", "green apple", "blue heart", "woman judge"} <= set(train.names)
    unseen = [set(name.split()) for name in set(test.names)]
    texts = [set(text.replace(",", "").replace(":", "").split()) for each in train.captions for text in each]
    assert not any(words <= text for text in texts for words in unseen)
