"""Labelled sounds and captioned images from TensorFlow Datasets in memory, without TensorFlow.

Args:
  name: TFDS name, with its config after a slash.
  split: a split of TFDS, such as ``"train[:80%]"``; the examples are in TFDS's fixed order.
  data_dir: folder of TFDS; the sets are prepared there on first use.

>>> load_phrases("soundfont_phrase/4khz", "train")  # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: name must be a TFDS data set, got 'soundfont_phrase/4khz'; did you mean soundfont_phrases ...?
>>> load_captioned("sklearn_digits", "train")  # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: name must be a set with the features ['captions', ...]; 'sklearn_digits' lacks ['captions', ...]
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from experiments.data.builders import register
from scorekit.data.tfds import builder_of, prepare, read_split


class LabelledSounds(NamedTuple):
    """Notes or phrases in memory; :func:`scorekit.audio.pcm_to_float` converts ``x`` to floats.

    Attributes:
      x: the sounds ``(N, length)``, int16.
      sample_rate: sample rate in Hz.
      name: the TFDS name.
      instrument: indices into ``instruments``, programs of General MIDI, ``(N,)``, int32.
      instruments: the names of the instruments; empty where they are not known.
      pitch, velocity: MIDI pitches and velocities of notes, ``(N,)``, int32.
      family: indices into ``families``, of notes, ``(N,)``, int32.
      families: the names of the families.
      roll: of phrases the velocities of the active keys, ``(N, T, 128)``, uint8; 0 for inactive keys.
      frame_rate: rows of the roll per second.

    >>> phrases = LabelledSounds(np.zeros((1, 64), np.int16), 4000, "a/b", np.zeros(1, np.int32), frame_rate=62.5)
    >>> phrases.sample_rate / phrases.frame_rate  # samples to a row of the roll
    64.0
    """

    x: np.ndarray
    sample_rate: int
    name: str
    instrument: np.ndarray
    instruments: tuple[str, ...] = ()
    pitch: Any = None
    velocity: Any = None
    family: Any = None
    families: tuple[str, ...] = ()
    roll: Any = None
    frame_rate: float | None = None


class CaptionedImages(NamedTuple):
    """Images with captions in memory.

    Attributes:
      x: the images ``(N, H, W, 3)``, uint8.
      captions: several texts of each image.
      names: subject of each image, in words.
      style: indices into ``styles``, ``(N,)``, int32.
      styles: the names of the styles of drawing, which are words of the captions.
      label: indices into ``classes``, ``(N,)``, int32.
      classes: the names of the groups.
      credit: owners and licences of the images: to be named where they, or samples that repeat them, are shown.
    """

    x: np.ndarray
    captions: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    style: np.ndarray
    styles: tuple[str, ...]
    label: np.ndarray
    classes: tuple[str, ...]
    credit: str = ""


def load_notes(name: str, split: str, data_dir: str | os.PathLike | None = None) -> LabelledSounds:
    """Reads a split of ``soundfont_notes/4khz``, ``/8khz`` or ``/16khz`` into memory."""
    info, examples = _read(name, split, data_dir, ("audio", "pitch", "velocity", "instrument"))
    kinds = info.features["instrument"]
    return LabelledSounds(
        **_sounds(info, examples),
        instrument=_labels(example["instrument"]["label"] for example in examples),
        instruments=tuple(kinds["label"].names),
        pitch=_labels(example["pitch"] for example in examples),
        velocity=_labels(example["velocity"] for example in examples),
        family=_labels(example["instrument"]["family"] for example in examples),
        families=tuple(kinds["family"].names),
    )


def load_phrases(name: str, split: str, data_dir: str | os.PathLike | None = None) -> LabelledSounds:
    """Reads a split of ``soundfont_phrases/4khz``, ``/8khz`` or ``/16khz`` into memory."""
    info, examples = _read(name, split, data_dir, ("audio", "roll", "instrument"))
    return LabelledSounds(
        **_sounds(info, examples),
        instrument=_labels(example["instrument"] for example in examples),
        instruments=tuple(info.features["instrument"].names),
        roll=np.stack([example["roll"] for example in examples]),
        frame_rate=info.metadata["frame_rate"],
    )


def load_captioned(name: str, split: str, data_dir: str | os.PathLike | None = None) -> CaptionedImages:
    """Reads a split of ``captioned_emoji`` into memory, which is made from archives (136 MB) that npm fetches.

    ``test`` holds combinations of concepts that ``train`` never has together, see ``docs/captions.md``.
    """
    info, examples = _read(name, split, data_dir, ("captions", "image", "label", "name", "style"))
    text = lambda value: value.decode() if isinstance(value, bytes) else str(value)
    return CaptionedImages(
        x=np.stack([example["image"] for example in examples]),
        captions=tuple(tuple(map(text, example["captions"])) for example in examples),
        names=tuple(text(example["name"]) for example in examples),
        style=_labels(example["style"] for example in examples),
        styles=tuple(info.features["style"].names),
        label=_labels(example["label"] for example in examples),
        classes=tuple(info.features["label"].names),
        credit=info.redistribution_info.license,
    )


def _read(name: str, split: str, data_dir: str | os.PathLike | None, required: Sequence[str]) -> tuple[Any, list[dict]]:
    """The description of a set, which must have the required features, and the examples of a split."""
    register(str(name))
    builder = builder_of(name, data_dir)
    missing = sorted({*required} - {*cast(Any, builder.info.features)})
    if missing:
        raise ValueError(f"name must be a set with the features {sorted(required)}; {name!r} lacks {missing}")
    builder = prepare(builder, name, data_dir)
    return builder.info, read_split(builder, split)


def _sounds(info: Any, examples: Sequence[dict]) -> dict[str, Any]:
    x = np.stack([example["audio"] for example in examples])
    return {"x": x, "sample_rate": info.metadata["sample_rate"], "name": info.full_name.rsplit("/", 1)[0]}


def _labels(values: Iterable[int]) -> np.ndarray:
    return np.asarray(list(values), np.int32)
