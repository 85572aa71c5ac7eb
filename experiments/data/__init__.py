"""Data sets, one file a kind, each answering for itself. A new kind is a file and a line in :data:`KINDS`."""

from typing import Any

from experiments.cli.choices import Choices
from experiments.cli.config import Config, require
from experiments.data import conditions
from experiments.data.dataset import Dataset, check_examples

KINDS = Choices(
    {
        "captioned": "experiments.data.captioned:CaptionedPictures",
        "folder": "experiments.data.image_files:Folder",
        "midi": "experiments.data.roll_sets:MidiFiles",
        "notes": "experiments.data.notes:Notes",
        "performances": "experiments.data.performances:Performances",
        "phrases": "experiments.data.phrases:Phrases",
        "ring": "experiments.data.vectors.points:Ring",
        "rolls": "experiments.data.roll_sets:Rolls",
        "scores": "experiments.data.scores:Scores",
        "simulator": "experiments.data.vectors.simulators:Simulations",
        "sounds": "experiments.data.sound_files:SoundFiles",
        "table": "experiments.data.vectors.tables:Table",
        "tar": "experiments.data.image_files:Tar",
        "tfds": "experiments.data.images:Images",
    },
    "tfds",
    """The kind of data: "tfds", a set of images by its TFDS name; "folder" or "tar" for your own images, "sounds" for
    your own recordings, "table" for your own numbers; "simulator" for parameters and what is simulated from them.""",
    ("captions", "mel"),
)
"""The section ``data`` of a config."""


def build(config: Config) -> Dataset:
    """The data set of the section ``data``, with the captions and spectrograms that the conditions need."""
    captions, mel = conditions.captions_of(config), conditions.mel_of(config)
    dataset: Dataset = KINDS.build(config, "data", captions=captions, mel=mel)
    if "conditions" in config:
        conditions.check(config, dataset)
    return dataset


def field_of(config: Config, field: str) -> Any:
    """The value of a field of the section ``data``, by default that of its kind; None where the kind has no such field.

    >>> from experiments.configs.images import smoke
    >>> field_of(smoke.get_config(), "set"), field_of(smoke.get_config(), "path")
    ('sklearn_digits', None)
    """
    value, arguments = config.data.get(field), KINDS.arguments(config.data.name)
    return arguments[field].default if value is None and field in arguments else value


def check_rows(config: Config, dataset: Dataset) -> None:
    """Validates that the examples which are in memory are finite; reads them."""
    for part, words in ((dataset.train, "training examples"), (dataset.test, "test examples")):
        check_examples(part, f"config.data.name={config.data.name}", words)


def check_no_pitch(dataset: Dataset) -> None:
    """Validates that sounds are represented without their pitch, where the sounds alone are at hand."""
    named = "controls" if getattr(dataset, "by_pitch", False) else None
    allowed = "another one: these sounds come without their pitch here"
    require(named is None, "data.representation.name", named, allowed)


def check_not_symbols(config: Config, dataset: Dataset) -> None:
    """Validates that the data are not for models of sequences alone."""
    allowed = "another one in a config without symbols: these data are sequences"
    require(not dataset.only_symbols, "data.name", config.data.name, allowed)
