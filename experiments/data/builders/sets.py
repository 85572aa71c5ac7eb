"""Labelled notes and phrases from TensorFlow Datasets in memory, without TensorFlow.

Args:
  name: TFDS name, with its config after a slash.
  x: the sounds ``(N, length)``, int16.

>>> zeros = np.zeros(2, np.int32)
>>> notes = NoteSet(x=np.zeros((2, 8), np.int16), pitch=zeros + 69, velocity=zeros + 127, instrument=zeros,
...                 family=zeros, instruments=("Grand piano",), families=("Piano",), sample_rate=4000, name="a/b")
>>> notes.instruments[notes.instrument[0]], notes.x.shape
('Grand piano', (2, 8))
>>> phrases = PhraseSet(x=np.zeros((1, 64), np.int16), roll=np.zeros((1, 2, 128), np.uint8),
...                     instrument=zeros, sample_rate=4000, frame_rate=62.5, name="a/b")
>>> phrases.sample_rate / phrases.frame_rate  # samples to a row of the roll
64.0
>>> load_notes("nsynth", "train", "/nowhere")  # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: name='nsynth/full' must have been prepared in data_dir=/nowhere: ...
>>> load_phrases("soundfont_phrase/4khz", "train")  # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: name must be a TFDS data set, got 'soundfont_phrase/4khz'; did you mean soundfont_phrases ...?
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.builders import register
from scorekit import audio
from scorekit.data.tfds import prepared, quiet_tfds, read_split, tensorflow_stand_in


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NoteSet:
    """Single notes in memory; :func:`scorekit.audio.pcm_to_float` converts ``x`` to floats.

    Attributes:
      pitch: MIDI pitches ``(N,)``, int32.
      velocity: MIDI velocities ``(N,)``, int32.
      instrument: indices into ``instruments``, ``(N,)``, int32.
      family: indices into ``families``, ``(N,)``, int32.
      instruments: the names of the instruments.
      families: the names of the families.
    """

    x: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    instrument: np.ndarray
    family: np.ndarray
    instruments: tuple[str, ...]
    families: tuple[str, ...]
    sample_rate: int
    name: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PhraseSet:
    """Phrases in memory.

    Attributes:
      roll: velocities of the active keys, ``(N, T, 128)``, uint8; 0 for inactive keys.
      instrument: programs of General MIDI ``(N,)``, int32.
      instruments: the names of the programs; empty where they are not known.
      frame_rate: rows of the roll per second.
    """

    x: np.ndarray
    roll: np.ndarray
    instrument: np.ndarray
    sample_rate: int
    frame_rate: float
    name: str
    instruments: tuple[str, ...] = ()


def load_notes(name: str, split: str, data_dir: str | os.PathLike | None = None) -> NoteSet:
    """Reads a split of a set of single notes into memory.

    ``soundfont_notes/4khz``, ``/8khz`` and ``/16khz`` are rendered on first use from recordings installed by pip. The
    official ``nsynth`` (``nsynth/full``, ``nsynth/gansynth_subset``) must have been prepared in ``data_dir``, which
    needs TensorFlow and apache-beam. The notes are in TFDS's fixed order.
    """
    builder, features = _open(name, data_dir, ("audio", "pitch", "velocity", "instrument"))
    kinds = features["instrument"]
    examples = _read(builder, split)
    labels = lambda values: np.asarray(list(values), np.int32)
    return NoteSet(
        x=_int16([example["audio"] for example in examples]),
        pitch=labels(example["pitch"] for example in examples),
        velocity=labels(example["velocity"] for example in examples),
        instrument=labels(example["instrument"]["label"] for example in examples),
        family=labels(example["instrument"]["family"] for example in examples),
        instruments=tuple(kinds["label"].names),
        families=tuple(kinds["family"].names),
        sample_rate=_sample_rate(builder),
        name=f"{builder.name}/{builder.builder_config.name}",
    )


def load_phrases(name: str, split: str, data_dir: str | os.PathLike | None = None) -> PhraseSet:
    """Reads a split of ``soundfont_phrases/4khz``, ``/8khz`` or ``/16khz`` into memory, rendering the set on first use.

    The phrases are in TFDS's fixed order.
    """
    builder, features = _open(name, data_dir, ("audio", "roll", "instrument"))
    examples = _read(builder, split)
    return PhraseSet(
        x=_int16([example["audio"] for example in examples]),
        roll=np.stack([example["roll"] for example in examples]),
        instrument=np.asarray([example["instrument"] for example in examples], np.int32),
        sample_rate=_sample_rate(builder),
        frame_rate=builder.info.metadata["frame_rate"],
        name=f"{builder.name}/{builder.builder_config.name}",
        instruments=tuple(features["instrument"].names),
    )


def _open(name: str, data_dir: str | os.PathLike | None, required: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """The builder of a prepared set, and its features by their names."""
    register(str(name))
    builder: Any = _nsynth(name, data_dir) if str(name).split("/")[0] == "nsynth" else prepared(name, data_dir)
    features = dict(builder.info.features.items())
    missing = sorted(set(required) - set(features))
    if missing:
        raise ValueError(f"name must be a set with the features {sorted(required)}; {name!r} lacks {missing}")
    return builder, features


def _nsynth(name: str, data_dir: str | os.PathLike | None):
    """The newest version of the official set in ``data_dir``."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants

    name = name if "/" in name else f"{name}/full"
    home = constants.DATA_DIR if data_dir is None else os.fspath(data_dir)
    versions = sorted(Path(home).expanduser().joinpath(name).glob("*/dataset_info.json"))
    if not versions:
        raise ValueError(
            f"name={name!r} must have been prepared in data_dir={home}: where TensorFlow and apache-beam are installed,"
            f" run `tfds build {name} --file_format=array_record` and copy the directory here; or use"
            " 'soundfont_notes/16khz', which needs no download"
        )
    with tensorflow_stand_in(), quiet_tfds():
        return tfds.builder_from_directory(versions[-1].parent)


def _read(builder, split: str) -> list[dict]:
    file_format = builder.info.file_format.value
    if file_format == "tfrecord":
        raise ValueError(
            f"data_dir: {builder.data_path} holds tfrecord files, which only TensorFlow reads; convert them with"
            f" `tfds convert_format --dataset_dir={builder.data_path} --out_file_format=array_record --out_dir=...`"
        )
    with tensorflow_stand_in():
        return read_split(builder, split)


def _int16(sounds: list[np.ndarray]) -> np.ndarray:
    """Sounds of one length, floats in [-1, 1] rounded to 16 bits."""
    x = np.stack(sounds)
    return np.asarray(audio.float_to_pcm(x), np.int16) if np.issubdtype(x.dtype, np.floating) else x


def _sample_rate(builder: Any) -> int:
    given = (builder.info.metadata or {}).get("sample_rate")
    return int(given or builder.info.features["audio"].sample_rate)
