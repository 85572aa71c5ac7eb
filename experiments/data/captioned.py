"""Captioned pictures of TFDS in memory: pictures in several styles, with several captions each."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.cli.config import require
from experiments.data import npm
from experiments.data.dataset import Preview
from experiments.data.images import Images
from scorekit import data
from scorekit.data import CaptionedSet

LABELS = ("none", "style", "group")
"""What the class can be; none is a single class."""


class Pictures:
    """A :class:`scorekit.data.CaptionedSet` as a source of examples with a class and captions."""

    def __init__(self, found: CaptionedSet, label: str):
        self._found, self.shape, self.name = found, found.x.shape[1:], "captioned_emoji"
        self.styles, self.credit, self.bins = found.styles, found.credit, 256
        classes = {"none": ("",), "style": found.styles, "group": found.classes}[label]
        self.num_classes = len(classes)
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


class CaptionedPictures(Images):
    """``captioned_emoji``: what is held out is combinations of concepts that training never has together."""

    sound_fields = ("crop", "peak", "representation")

    @classmethod
    def check(cls, config):
        super().check(config)
        label = config.data.label
        require(label is None or label in LABELS, "data.label", label, f"one of {', '.join(LABELS)}")

    def open(self, options, split):
        load = functools.partial(data.load_captioned, options.name, split, options.data_dir)
        try:
            pictures = load()
        except data.builders.MissingArchives as missing:
            npm.fetch(missing, f"name={options.name!r} could not be prepared in data_dir={options.data_dir!s}")
            pictures = load()
        found = Pictures(pictures, options.label or "none")
        self.styles, self.credit = found.styles, found.credit
        return found

    def preview(self):
        """Ten samples of each class that test pictures, and so held-out captions, have; 40 of a single one."""
        present = np.unique(self.test["label"])[:10]
        rows = None if self.num_classes == 1 else present.tolist()
        return Preview(np.repeat(present, 40 if rows is None else 10), rows)

    def guidance_labels(self):
        return np.resize(np.unique(self.test["label"]), 10).astype(np.int32)
