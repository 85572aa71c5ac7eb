"""Captions of emoji, and which of them are held out: combinations of two concepts that are each seen in training."""

import collections
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

STYLES = ("noto", "twitter")
CAPTIONS = 3
SHARE = 0.25
"""The share of the combinations of a family that is held out, where the rest allows it."""

_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white", "grey", "pink")
_SIZES = ("small", "medium", "large")
_FACES = ("cat", "face")
_PEOPLE = ("man", "woman", "person")
_ALWAYS_SEEN = ("face", "person")


class Pair(NamedTuple):
    """A combination: a cat that is crying, a circle of any size that is blue, a woman who is golfing."""

    family: str
    thing: str
    attribute: str


def clean_name(text: str) -> str:
    """A name in words: ``woman_s_hat`` is "woman's hat"."""
    return text.replace("_", " ").replace(" s ", "'s ").strip()


def captions(
    name: str, keywords: Sequence[str], group: str, style: str, unseen: Iterable[str] = ()
) -> tuple[str, str, str]:
    """Three captions of a picture of a group such as "Animals & Nature".

    The first two keywords that are words and say something new are used, unless all words of an ``unseen`` name would
    then come together in a caption of another one.
    """
    words = [clean_name(keyword).replace("-", " ").lower() for keyword in keywords]
    new = [word for word in words if re.fullmatch("[a-z][a-z ]+", word) and word not in name and word not in STYLES]
    others = [set(other.split()) for other in unseen if other != name]
    said, kept = set(name.split()), []
    for word in dict.fromkeys(new):
        if len(kept) < 2 and not any(other <= {*said, *word.split()} for other in others):
            kept.append(word)
            said |= set(word.split())
    subject = group.lower().replace("&", "and")
    return (
        f"{name}, {style} style",
        ", ".join([f"a {style} style emoji: {name}", *kept]),
        f"{subject}: {name}, drawn in {style} style",
    )


def pair_of(name: str, names: Iterable[str] = ()) -> Pair | None:
    """The combination that a name describes, or None.

    A name that is also among ``names`` after "man" or "woman" is of a person.
    """
    words = name.replace("light blue", "light-blue").removesuffix(" facing right").split()
    colours = [word for word in words if word.removeprefix("light-") in _COLOURS]
    rest = [word for word in words if word not in (*colours, *_SIZES)]
    if len(colours) == 1 and rest:
        return Pair("colour", " ".join(rest), colours[0])
    faces = [word for word in words if word in _FACES]
    if len(faces) == 1 and len(words) > 1:
        return Pair("expression", faces[0], " ".join("..." if word in _FACES else word for word in words))
    if words[0] in _PEOPLE and len(words) > 1:
        return Pair("person", words[0], " ".join(words[1:]))
    if any(f"{person} {name}" in names for person in _PEOPLE):
        return Pair("person", "person", name)
    return None


def held_out(names: Iterable[str]) -> frozenset[str]:
    """The names of the test pictures: a quarter of the combinations of each family.

    Combinations are taken in an order that depends on the names alone, all names of one together, as long as half of
    the combinations of their thing, and half of the combinations of their attribute, stay in training, and no name of
    another has all their words (a hollow red circle is red and a circle). Expressions of cats are held out, of plain
    faces not; activities of men and women, but not of a person.
    """
    names = frozenset(names)
    named = collections.defaultdict(set)
    for name in names:
        if pair := pair_of(name, names):
            named[pair].add(name)
    concepts = {
        pair: ((pair.family, "thing", pair.thing), (pair.family, "attribute", pair.attribute)) for pair in named
    }
    total = collections.Counter(concept for both in concepts.values() for concept in both)
    left, words = total.copy(), {name: set(name.split()) for name in names}
    sizes = collections.Counter(pair.family for pair in named if pair.thing not in _ALWAYS_SEEN)
    room = {family: math.ceil(SHARE * size) for family, size in sizes.items()}
    found = set()
    for pair in sorted(named, key=lambda pair: hashlib.sha256(" ".join(pair).encode()).digest()):
        if pair.thing in _ALWAYS_SEEN or not room[pair.family]:
            continue
        others = [words[name] for name in names - named[pair]]
        contained = any(words[name] < other for name in named[pair] for other in others)
        if not contained and all(2 * (left[concept] - 1) >= total[concept] for concept in concepts[pair]):
            found |= named[pair]
            left.subtract(concepts[pair])
            room[pair.family] -= 1
    return frozenset(found)
