"""A user's own sounds: a folder of recordings, or tar files of them, streamed in clips of one length."""

import contextlib
import functools
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.cli.config import Config, require, require_field
from experiments.data import captions
from experiments.data.dataset import TABLE_FIELDS, Batch, evenly, rows_of
from experiments.data.display import Preview
from experiments.data.image_files import open_splits, reading
from experiments.data.images import read_rows, streamed
from experiments.data.sounds import Sounds, normalised
from scorekit import data

_SAMPLE, _WORKERS = 1000, 4


class SoundFiles(Sounds):
    """Recordings in ``config.data.path`` as clips of ``config.data.crop`` samples: :func:`scorekit.data.recordings`.

    Training draws a clip anywhere in a file, from ``(seed, position)``; what metrics are measured on are fixed clips,
    one after the other. Folders ``path/train`` and ``path/test`` are the two sets; without them a tenth of the files of
    every class is held out, or the end of the only file of a class. With ``config.data.streaming=False`` the fixed
    clips are kept in memory and trained on.
    """

    image_fields = ("augment", "embeddings", "image_crop", "image_mode", "image_size")
    file_fields = TABLE_FIELDS
    labels = ("class", "none")
    fields = ()
    vectors = ("moments", captions.POOLED)
    tokens = (captions.TOKENS,)
    from_fields = (captions.POOLED, captions.TOKENS)
    _hop = 1
    _captions: captions.Captions | None = None

    def __init__(self, config):
        options = config.data
        self._workers, self._on_error = _WORKERS if options.workers is None else options.workers, options.on_error
        self._peak, self._labelled = options.get("peak"), options.label != "none"
        with reading(config):
            train, test = self._sources(config)
            self.name, self.sample_rate = Path(options.path).expanduser().name or train.name, train.sample_rate
            if captions.wanted(config):
                texts = train.captions() + test.captions() if train.captioned and test.captioned else None
                self._captions, _ = captions.of_sets(config, texts, texts, self.name)
                self._rows = dict(zip(texts or (), self._captions.of_pictures[:, 0].tolist(), strict=True))
            self.streaming = options.streaming is not False
            count = min(_SAMPLE, len(train)) if self.streaming else len(train)
            self.train, self.test = self._read(train, count), self._read(test, min(_SAMPLE, len(test)))
        self._source, self._full, self._held_out = train, self.train, len(test)
        self.examples = len(train) if self.streaming else len(self.train["x"])
        self.num_classes, self.class_names = (train.num_classes, train.classes) if self._labelled else (1, ())
        self.unit = f"clips of {options.crop / self.sample_rate:.3g} s at {self.sample_rate / 1000:g} kHz"
        self.set_representation(config, options.crop)
        self.shape = jax.eval_shape(self.inputs, rows_of(self.test, slice(1))).shape[1:]

    @classmethod
    def check(cls, config):
        super().check(config)
        options, must = config.data, functools.partial(require_field, config)
        must("data.name", options.name == "sounds", "sounds, without a suffix")
        must("data.path", options.path is not None and "\0" not in options.path, "set for data.name=sounds")
        must("data.crop", options.crop is not None, "set for data.name=sounds: samples of a clip, such as 32768")
        stereo = "map" in options and options.channels == 2
        must("data.map.name", not stereo or options.map.name == "none", "none with data.channels=2")
        captions.check(config)

    def _sources(self, config: Config) -> tuple[Any, Any]:
        """Clips to train on, and held-out ones."""
        options = config.data
        opened = lambda path: data.recordings(
            path,
            length=options.crop,
            sample_rate=options.sample_rate,
            channels=options.channels or 1,
            on_error=self._on_error or "raise",
        )
        train, test = open_splits(config, opened) or opened(Path(options.path).expanduser()).held_out()
        rates = train.sample_rate, test.sample_rate
        require(len({*rates}) == 1, "data.sample_rate", None, "set: the sets have files of {} and {} Hz".format(*rates))
        return train, test

    def _read(self, source: Any, count: int) -> Batch:
        """So many clips, evenly spaced, in memory."""
        part = read_rows(source, evenly(len(source), count), self._workers, self._on_error or "raise", "clips")
        silent = int(np.sum(~part["x"].reshape(len(part["x"]), -1).any(axis=1)))
        if silent == len(part["x"]):
            raise ValueError(f"there must be sound, all of {silent} clips are silent")
        if silent:
            warnings.warn(f"{silent} of {len(part['x'])} clips of {self.name} are silent", stacklevel=2)
        return self._finished(part)

    def _finished(self, part: dict[str, Any]) -> Batch:
        """A batch with peaks, classes and captions as the config has them."""
        x, texts = part["x"], part.pop("caption", None)
        if self._peak is not None:
            x = normalised(x.reshape(len(x), -1), self._peak).reshape(x.shape)
        label = part["label"] if self._labelled else np.zeros_like(part["label"])
        found = {"x": x, "label": label}
        if self._captions is None or texts is None:
            return found
        return {**found, **self._captions.fields(np.asarray([self._rows[text] for text in texts]))}

    def held_out(self):
        """The number of held-out clips; a sample of them is in memory."""
        return self._held_out

    def batch(self, seed, step, size):
        if not self.streaming:
            return super().batch(seed, step, size)
        with contextlib.closing(self._stream(seed, step, size, workers=0)) as batches:
            return next(batches)

    def batches(self, seed, first_step, size, process_index=0, process_count=1):
        if not self.streaming:
            return super().batches(seed, first_step, size, process_index, process_count)
        return self._stream(seed, first_step, size, process_index, process_count, self._workers)

    def _stream(self, seed, first_step, size, process_index=0, process_count=1, workers=0):
        parts = streamed(
            self._source,
            dict,
            self._on_error or "raise",
            seed=seed,
            batch_size=size,
            start=first_step * size,
            process_index=process_index,
            process_count=process_count,
            workers=workers,
        )
        with contextlib.closing(parts):
            yield from map(self._finished, parts)

    def preview(self):
        few = rows_of(self.test, evenly(len(self.test["x"]), 10))
        return Preview(few["label"], ["sample", "held out"], few)
