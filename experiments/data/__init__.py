"""Data sets, one file a kind, each answering for itself. A new kind is a file and a line in :data:`KINDS`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from experiments.cli.config import Config, require, section
from experiments.cli.ranges import above, at_least, between, check_ranges, count, free, one_of, or_none, within
from experiments.data import captions, conditions, embeddings, representation
from experiments.data.augment import AUGMENTATIONS
from experiments.data.captioned import CaptionedPictures
from experiments.data.dataset import Dataset, check_examples
from experiments.data.image_files import ImageFiles
from experiments.data.images import Images
from experiments.data.notes import Notes
from experiments.data.phrases import Phrases
from experiments.data.points import Ring
from experiments.data.roll_sets import MidiFiles, Rolls

KINDS: Mapping[str, type[Dataset]] = {
    "captioned_emoji": CaptionedPictures,
    "folder": ImageFiles,
    "midi": MidiFiles,
    "ring": Ring,
    "rolls": Rolls,
    "soundfont_notes": Notes,
    "nsynth": Notes,
    "soundfont_phrases": Phrases,
    "tar": ImageFiles,
}
"""Kinds by the first part of the name of a data set; every other name is a TFDS set of images."""

_EVERY = (Images, *dict.fromkeys(KINDS.values()))


_NAME = re.compile(r"\w+(:\w+)?(/\w[\w.+-]*)*(:[\d.*]+)?", re.ASCII)
"""``[namespace:]name[/config][:version]``, as TFDS writes names; never a path."""


def fields() -> ConfigDict:
    """The section ``data`` of a config, with defaults."""
    data = ConfigDict()
    data.name = "sklearn_digits"
    """A TFDS name of images, notes or phrases, "folder" or "tar" for your own images, "ring" for the
    2-D mixture, or for models of sequences "rolls", phrases as notes, or "midi", your own MIDI files."""
    data.data_dir = "~/tensorflow_datasets"
    """Folder of TFDS, of the sets that come from there."""
    data.train_split = "train"
    """The part to train on: a split of TFDS, or a subfolder of ``path``."""
    data.test_split = "test"
    """The part to measure on, likewise."""
    data.path = config_dict.placeholder(str)
    """Of "folder" the folder of pictures, of "tar" a folder of tar files, one tar file, or a pattern; of "midi" the
    folder of MIDI files."""
    data.image_size = config_dict.placeholder(int)
    """Of "folder" and "tar": the middle square of each picture is resized to it; None is for pictures of one size. Of
    other images, which must be square: they are averaged down to it; None is as they are."""
    data.image_crop = config_dict.placeholder(int)
    """Images: trains on random squares of so many pixels a side, for stages of a cascade; None is the full image."""
    data.image_mode = config_dict.placeholder(str)
    """Of "folder" and "tar": "RGB" or "L" (grey) to convert every picture to; None is for pictures of one mode."""
    data.streaming = config_dict.placeholder(bool)
    """Images: read from disk as they are needed, else kept in memory; None streams sets of more than 4 GiB."""
    data.workers = config_dict.placeholder(int)
    """Images: threads that read ahead; None is 4."""
    data.on_error = config_dict.placeholder(str)
    """Of "folder", "tar" and what streams, an image that cannot be read: "raise" (the default) ends the run, "skip"
    leaves it out."""
    data.augment = config_dict.placeholder(str)
    """Images: "flip", "crop", or "edm", which also needs ``vector.name`` "augmentation"; None is no augmentation."""
    data.label = config_dict.placeholder(str)
    """What the class is. Of sounds "instrument" (the default), of notes also "family"; of rolls and MIDI files "key"
    (the default) or "instrument"; of captioned pictures "style" or "group"; "none" (the default of captioned pictures)
    for a single class."""
    data.crop = config_dict.placeholder(int)
    """Sounds: samples of one example, a random crop of a longer sound; None is the full sound."""
    data.peak = config_dict.placeholder(float)
    """Sounds: the largest sample of each, of full scale, in the data and in samples; None leaves it unchanged."""
    data.latents = config_dict.placeholder(str)
    """Folder of a run of experiments.latents.train whose latents are the data, or of those that
    experiments.latents.precompute wrote; None is the data themselves."""
    data.representation = representation.fields()
    """Sounds: what the network receives: the waveform (the default), an invertible spectrogram, or the magnitudes given
    the mel spectrogram in ``map``."""
    data.map = section(_all("maps"), "none", supplied=("dataset",))
    """A dense map as a condition, computed from the example."""
    data.vector = section(_all("vectors"), "none", supplied=("dataset",))
    """A vector as a condition, likewise."""
    data.tokens = section(_all("tokens"), "none", supplied=("dataset",))
    """Tokens as a condition, for cross-attention: the caption of a picture."""
    data.captions = captions.fields()
    """Of captions, where they are a condition."""
    data.embeddings = embeddings.fields()
    """Of pictures, by contrastive encoders: a condition of a decoder, or the examples of a prior."""
    return data


_KEYS = or_none(lowest=count(0, 127), highest=count(0, 127))

RANGES = {
    "name": free("the name of a data set"),
    "data_dir": free("a folder"),
    "train_split": free("a split or folder"),
    "test_split": free("a split or folder"),
    **or_none(
        augment=one_of("none", *AUGMENTATIONS), crop=count(1), image_crop=count(1, 2**16),
        image_mode=one_of("RGB", "L"), image_size=count(1, 2**16),
        label=free("instrument, family, key, style, group or none"), latents=free("a folder"),
        on_error=one_of("raise", "skip"), path=free("a folder, tar file or pattern"),
        peak=between(0, 1, open_low=True), workers=count(0, 1024),
    ),
    **within("representation", representation.RANGES),
    **within("map", {**_KEYS, **or_none(
        count=count(1, 64), cutoff=between(0, 0.5, open_low=True, open_high=True), f_min=at_least(0),
        factor=count(1), fft_size=count(2, 2**20), hop=count(1, 2**20), num_mels=count(1, 2**16),
        radius=count(1, 2**16), scale=above(0),
    )}),
    **within("vector", _KEYS),
    **within("captions", captions.RANGES),
    **within("embeddings", embeddings.RANGES),
}  # fmt: skip
"""The values of the fields."""


def kind_of(config: Config) -> type[Dataset]:
    """The kind of the data set that ``config.data`` names."""
    return KINDS.get(config.data.name.split("/")[0], Images)


def check(config: Config) -> None:
    """Validates the section ``data``; nothing is loaded."""
    check_ranges(config, within("data", RANGES))
    name = config.data.name
    allowed = "the name of a data set, such as sklearn_digits or soundfont_notes/4khz"
    require(_NAME.fullmatch(name) is not None, "data.name", name, allowed)
    kind = kind_of(config)
    kind.check(config)
    if "map" in config.data:
        conditions.check(config, kind)


def load(config: Config) -> Dataset:
    """The data set that ``config.data`` names; :func:`experiments.models.latents.load_data` wraps it as latents.

    Raises:
      ConfigError: if it cannot be loaded, or an example is not finite.
    """
    kind: Any = kind_of(config)
    dataset: Dataset = kind(config)
    for part, what in ((dataset.train, "training examples"), (dataset.test, "test examples")):
        check_examples(part, f"config.data.name={config.data.name}", what)
    return dataset


def _all(attribute: str) -> dict[str, Callable]:
    every = {name: factory for kind in _EVERY for name, factory in getattr(kind, attribute).items()}
    return {"none": conditions.none, **dict(sorted(every.items()))}
