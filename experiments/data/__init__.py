"""Data sets, one file a kind, each answering for itself. A new kind is a file and a line in :data:`KINDS`.

Args:
  lowest: the lowest key, as a MIDI number.
  highest: the highest key.
"""

import re
from collections.abc import Mapping
from typing import Any

from experiments.cli.config import Config, ConfigError, hint, require
from experiments.cli.fields import Field, Section, Text
from experiments.data import captions, conditions, embeddings, representation
from experiments.data.captioned import CaptionedPictures
from experiments.data.dataset import Dataset, check_examples
from experiments.data.image_files import ImageFiles
from experiments.data.images import Images
from experiments.data.notes import Notes
from experiments.data.performances import Performances
from experiments.data.phrases import Phrases
from experiments.data.roll_sets import MidiFiles, Rolls
from experiments.data.scores import Scores
from experiments.data.sound_files import SoundFiles
from experiments.data.transforms import AUGMENTATIONS
from experiments.data.vectors.points import Ring
from experiments.data.vectors.simulators import Simulations
from experiments.data.vectors.tables import Table
from scorekit.arguments import Between, Count, OneOf

KINDS: Mapping[str, type[Dataset]] = {
    "captioned_emoji": CaptionedPictures,
    "folder": ImageFiles,
    "midi": MidiFiles,
    "performances": Performances,
    "ring": Ring,
    "rolls": Rolls,
    "scores": Scores,
    "soundfont_notes": Notes,
    "nsynth": Notes,
    "soundfont_phrases": Phrases,
    "simulator": Simulations,
    "sounds": SoundFiles,
    "table": Table,
    "tar": ImageFiles,
}
"""Kinds by the first part of the name of a data set; every other name is a TFDS set of images."""

_NAME = re.compile(r"\w+(:\w+)?(/\w[\w.+-]*)*(:[\d.*]+)?", re.ASCII)
"""``[namespace:]name[/config][:version]``, as TFDS writes names; never a path."""


FIELDS = Section(
    name=Field("sklearn_digits", Text("the name of a data set"), """
        A TFDS name of images, notes or phrases; "folder" or "tar" for your own images, "sounds" for your own
        recordings, "table" for your own numbers, "simulator" for parameters and what is simulated from them; "ring" for
        the 2-D mixture; or for models of sequences "rolls", phrases as notes, "performances" of them,
        "scores/chorales", "scores/folk" and "scores/fiddle" of music21, or "midi", your own MIDI files."""),
    data_dir=Field("~/tensorflow_datasets", Text("a folder"), "Folder of TFDS, of the sets that come from there."),
    train_split=Field("train", Text("a split or folder"), """
        The part to train on: a split of TFDS, or a subfolder of ``path``."""),
    test_split=Field("test", Text("a split or folder"), "The part to measure on, likewise."),
    path=Field(None, Text("a folder, tar file or pattern"), """
        Of "folder" the folder of pictures, of "tar" a folder of tar files, one tar file, or a pattern; of "midi" the
        folder of MIDI files, of "sounds" a folder of recordings, or tar files of them, of "table" a .csv or .npz
        file."""),
    image_size=Field(None, Count(1, 2**16), """
        Of "folder" and "tar": the middle square of each picture is resized to it; None is for pictures of one size. Of
        other images, which must be square: they are averaged down to it; None is as they are."""),
    image_crop=Field(None, Count(1, 2**16), """
        Images: trains on random squares of so many pixels a side, for stages of a cascade; None is the full image."""),
    image_mode=Field(None, OneOf("RGB", "L"), """
        Of "folder" and "tar": "RGB" or "L" (grey) to convert every picture to; None is for pictures of one mode."""),
    streaming=Field(None, bool, """
        Images: read from disk as they are needed, else kept in memory; None streams sets of more than 4 GiB. Of
        "sounds": random clips, read as they are needed (the default), else fixed ones, kept in memory."""),
    workers=Field(None, Count(0, 1024), "Images and ``sounds``: threads that read ahead; None is 4."),
    on_error=Field(None, OneOf("raise", "skip"), """
        Of "folder", "tar", "sounds" and what streams, a file that cannot be read: "raise" (the default) ends the run,
        "skip" leaves it out."""),
    augment=Field(None, OneOf("none", *AUGMENTATIONS), """
        Images: "flip", "crop", or "edm", which also needs ``vector.name`` "augmentation"; None is no augmentation."""),
    label=Field(None, Text("instrument, family, key, style, group or none"), """
        What the class is. Of notes and phrases "instrument" (the default), of notes also "family"; of "sounds" "class"
        (the default), a folder or the class in a list of files; of rolls and MIDI files "key" (the default) or
        "instrument"; of captioned pictures "style" or "group"; "none" (the default of captioned pictures) for a single
        class. Of other images and points "none" is a network without classes."""),
    crop=Field(None, Count(1), """
        Sounds: samples of one example, a random crop of a longer sound; None is the full sound. Of "sounds" it must
        be set; a shorter file is followed by silence."""),
    sample_rate=Field(None, Count(100, 768_000), """
        Of "sounds": samples a second, in Hz; files of another rate are resampled. None is the rate of the first."""),
    channels=Field(None, Count(1, 2), """
        Of "sounds": 1 for the mean of all channels (the default), 2 for stereo files as they are."""),
    x=Field(None, Text("names of columns"), """
        Of "table": the columns that are the data, separated by commas; None is all that are no condition."""),
    condition=Field(None, Text("names of columns"), """
        Of "table": the columns that are the condition, with ``vector.name`` "columns", or one array (N, T, C), with
        ``tokens.name`` "set" or ``map.name`` "sequence"; None is no condition."""),
    bounds=Field(None, Text("bounds of columns"), """
        Of tables and simulators: a pair such as "-1:1", "0:" or ":" for each column of ``x``, or one for all; these
        columns are mapped to the real line. None is the support of the prior, without one no bounds."""),
    prior=Field(None, Text("module:name"), """
        Of "table" and your own "simulator": the distribution of ``x``, a density of scorekit, a distribution of
        NumPyro, or any object with sample(key, shape) and log_prob, or a function that returns one."""),
    validation=Field(None, Between(0, 1, "both"), """
        Of tables and simulators: the part of the rows that is held out; None is a tenth, at most 2000 rows."""),
    simulator=Field(None, Text("a name or module:function"), """
        Of "simulator": two_moons, gaussian_linear, or module:function, a function of (key, parameters (N, D))."""),
    simulations=Field(None, Count(20, 10**8), 'Of "simulator": how many are drawn; None is 10,000.'),
    peak=Field(None, Between(0, 1, "low"), """
        Sounds: the largest sample of each, of full scale, in the data and in samples; None leaves it unchanged."""),
    latents=Field(None, Text("a folder"), """
        Folder of a run of an autoencoder whose latents are the data, or of those that
        experiments.latents.precompute wrote; None is the data themselves."""),
    representation=representation.REPRESENTATIONS,
    map=conditions.TABLES["dense_map"],
    vector=conditions.TABLES["vector"],
    tokens=conditions.TABLES["tokens"],
    captions=captions.FIELDS,
    embeddings=embeddings.FIELDS,
)  # fmt: skip
"""The section ``data`` of a config."""
UNCONDITIONED = FIELDS.but("captions", "embeddings", "latents", "map", "peak", "tokens", "vector")
"""The section ``data`` of what is trained without conditions, on the data themselves."""


def kind_of(config: Config) -> type[Dataset]:
    """The kind of the data set that ``config.data`` names."""
    return KINDS.get(config.data.name.split("/")[0], Images)


def check(config: Config) -> None:
    """Validates relations between the fields of ``data``; nothing is loaded."""
    name = config.data.name
    allowed = "the name of a data set, such as sklearn_digits or soundfont_notes/4khz"
    require(_NAME.fullmatch(name) is not None, "data.name", name, allowed)
    kind, near = kind_of(config), hint(name, KINDS)
    require(kind is not Images or not near or config.data.path is None, "data.name", name, f"a kind of files{near}")
    kind.check(config)
    if "map" in config.data:
        conditions.check(config, kind)


def load(config: Config) -> Dataset:
    """The data set that ``config.data`` names; :func:`experiments.models.latents.load_data` wraps it as latents."""
    kind: Any = kind_of(config)
    try:
        dataset: Dataset = kind(config)
    except ConfigError as error:
        near = hint(config.data.name, KINDS) if "must be a TFDS" in str(error) else ""
        require(not near, "data.name", config.data.name, f"a TFDS data set or a kind of data{near}")
        raise
    for part, what in ((dataset.train, "training examples"), (dataset.test, "test examples")):
        check_examples(part, f"config.data.name={config.data.name}", what)
    return dataset
