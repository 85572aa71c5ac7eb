"""A user's own sounds: a folder of recordings, or tar files of them, streamed in clips of one length."""

import functools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from experiments.cli.config import require
from experiments.cli.fields import Text
from experiments.data.captions import POOLED, TOKENS, Captions, Source
from experiments.data.dataset import Batch, evenly
from experiments.data.sounds import Sounds, normalised
from experiments.data.sources import Streaming, open_splits, read_rows, reading
from scorekit import data
from scorekit.arguments import Count, OneOf

_SAMPLE = 1000
"""Clips of a set that are kept in memory where it streams."""


@dataclass(kw_only=True, eq=False)
class SoundFiles(Streaming, Sounds):
    """Recordings as clips of one length, the mean of their channels: :func:`scorekit.data.recordings`.

    Training draws a clip anywhere in a file, from ``(seed, position)``; what metrics are measured on are fixed clips,
    one after the other. Folders ``path/train`` and ``path/test`` are the two sets; without them a tenth of the files of
    every class is held out, or the end of the only file of a class.

    Args:
      path: folder of recordings, or tar files of them.
      crop: samples of a clip; a shorter file is followed by silence.
      sample_rate: samples a second, in Hz; files of another rate are resampled. None is the rate of the first.
      label: "class", a folder or the class in a list of files, or "none" for a single class.
      streaming: whether training draws clips as they are needed; without, fixed clips are kept in memory.
      captions: encoder of captions, where they are a condition; else None.
    """

    vectors = ("moments", POOLED)
    tokens = (TOKENS,)
    from_fields = (POOLED, TOKENS)

    path: Annotated[str, Text("a folder, tar file or pattern")]
    crop: Annotated[int, Count(1)]
    sample_rate: Annotated[int, Count(100, 768_000)] | None = None
    label: Annotated[str, OneOf("class", "none")] = "class"
    streaming: bool = True
    captions: Source | None = None

    def __post_init__(self):
        root = Path(self.path).expanduser()
        with reading(self.path):
            options = {"length": self.crop, "sample_rate": self.sample_rate, "on_error": self.on_error}
            opened = lambda path: data.recordings(path, **options)
            sources = open_splits(root, self.train_split, self.test_split, opened) or opened(root).held_out()
        self.sources = train, test = sources
        same, rates = train.sample_rate == test.sample_rate, f"{train.sample_rate} and {test.sample_rate} Hz"
        require(same, "data.sample_rate", None, f"set: the sets have files of {rates}")
        self.name = root.name or train.name
        self.num_classes, self.class_names = (train.num_classes, train.classes) if self.label != "none" else (1, ())
        self.represent(self.crop, train.sample_rate)
        self.unit = f"clips of {self.crop / train.sample_rate:.3g} s at {train.sample_rate / 1000:g} kHz"

    def read(self, part):
        """The fixed clips to train on, or a sample of them, or of those that are held out."""
        all_of_them = part == 0 and not self.streaming
        return self._read(self.sources[part], len(self.sources[part]) if all_of_them else _SAMPLE)

    @functools.cached_property
    def _captions(self) -> Captions | None:
        """The captions of both sets, encoded, where they are a condition."""
        if self.captions is None:
            return None
        listed = [source.captions() if source.captioned else None for source in self.sources]
        return self.captions.of_sets(listed, self.name)

    def _read(self, source: Any, count: int) -> Batch:
        """So many clips, evenly spaced, in memory."""
        with reading(self.path):
            part = read_rows(source, evenly(len(source), count), self.workers, self.on_error, "clips")
            silent = int(np.sum(~part["x"].any(axis=1)))
            if silent == len(part["x"]):
                raise ValueError(f"there must be sound, all of {silent} clips are silent")
            if silent:
                warnings.warn(f"{silent} of {len(part['x'])} clips of {self.name} are silent", stacklevel=2)
            return self._represented(part)

    def _represented(self, part: dict[str, Any]) -> Batch:
        """A batch with peaks, classes and captions as the network is trained on them."""
        x, label = part["x"], part["label"]
        if self.peak is not None:
            x = normalised(x, self.peak)
        batch = {"x": x, "label": np.zeros_like(label) if self.label == "none" else label}
        if self._captions is None:
            return batch
        return {**batch, **self._captions.fields(self._captions.rows_of(part["caption"])[:, 0])}

    def stored(self):
        return self.train

    def finished(self, part, seed, step, first_row):
        return self._represented(part) if self.streaming else part
