"""Data sets, one file a kind, each answering for itself. A new kind is a file and a line in :data:`KINDS`."""

import functools
from pathlib import Path
from typing import Any

from experiments.cli.choices import Choices, named_object
from experiments.cli.config import Config, require, require_field
from experiments.cli.fields import Field, Text
from experiments.data import conditions
from experiments.data.builders import DATA_DIR
from experiments.data.captions import POOLED, TOKENS, Source
from experiments.data.dataset import Dataset
from experiments.data.finite import check_examples

KINDS = Choices(
    {
        "captioned": "experiments.data.captioned:Captioned",
        "folder": "experiments.data.images:Folder",
        "midi": "experiments.data.roll_sets:MidiFiles",
        "notes": "experiments.data.sound_sets:Notes",
        "performances": "experiments.data.performances:Performances",
        "phrases": "experiments.data.sound_sets:Phrases",
        "ring": "experiments.data.vectors.points:Ring",
        "rolls": "experiments.data.roll_sets:Rolls",
        "simulator": "experiments.data.vectors.simulators:Simulations",
        "sounds": "experiments.data.sound_files:SoundFiles",
        "table": "experiments.data.vectors.tables:Table",
        "tar": "experiments.data.images:Tar",
        "tfds": "experiments.data.images:Images",
    },
    "tfds",
    """The kind of data: "tfds", a set of images by its TFDS name; "folder" or "tar" for your own images, "sounds" for
    your own recordings, "table" for your own numbers; "simulator" for parameters and what is simulated from them.""",
    ("captions", "mel"),
)
"""The section ``data`` of a config."""
LATENTS = Field(
    None,
    Text("a folder"),
    """
    Folder of a run of an autoencoder whose latents are the data, or of those that
    experiments.tasks.latents.precompute wrote; None is the data themselves.""",
)


def load(config: Config, workdir: Path | None = None) -> Dataset:
    """The data set of a config, as latents where ``config.latents`` names an autoencoder, with embeddings where
    ``config.conditions.embeddings.encoder`` names contrastive encoders; ``workdir`` is its run, for error messages."""
    given = config.get("conditions")
    if given is not None and "embeddings" in given:
        _check_embeddings(config)
        if given.embeddings.encoder is not None:
            return named_object("experiments.tasks.contrastive.embeddings:with_embeddings")(config, workdir)
    dataset = build(config)
    if not config.get("latents"):
        return dataset
    if given is not None:
        conditions.check_latents(conditions_of(config), dataset)
    for field in ("augment", "image_crop"):
        allowed = "None for latents, which are of the images as they are"
        require(config.data.get(field) is None, f"data.{field}", config.data.get(field), allowed)
    return named_object("experiments.tasks.latents.latent_data:open_latents")(config, dataset)


def build(config: Config) -> Dataset:
    """The data set of the section ``data``, with the captions and spectrograms that the conditions need."""
    chosen, given, captioned = conditions_of(config), config.get("conditions", {}), on_captions(config)
    for field, value in ({} if captioned else given.get("captions", {})).items():
        require(value is None, f"conditions.captions.{field}", value, "left out: no condition is of captions")
    captions, mel = source_of(config) if captioned else None, None
    if chosen.get("dense_map") == "mel_magnitudes":
        mel = {name: value for name, value in given.map.items() if name != "name" and value is not None}
    dataset: Dataset = KINDS.build(config, "data", captions=captions, mel=mel)
    if "conditions" in config:
        conditions.check(chosen, dataset, config.data.get("augment"))
    return dataset


def are_embeddings(config: Config) -> bool:
    """Whether the examples of a config are embeddings."""
    return bool("conditions" in config and config.conditions.embeddings.as_examples)


def _check_embeddings(config: Config) -> None:
    """Validates the section ``conditions.embeddings``."""
    given, must = config.conditions, functools.partial(require_field, config)
    encoder, vector, name = given.embeddings.encoder, given.vector.name, "conditions.embeddings.encoder"
    if are_embeddings(config):
        where, names = "with conditions.embeddings.as_examples=True", (POOLED, "none")
        must(name, encoder is not None, f"a folder {where}")
        must("conditions.vector.name", vector in names, f"{' or '.join(names)} {where}")
        for section in ("map", "tokens"):
            must(f"conditions.{section}.name", given[section].name == "none", f"none {where}")
        must("latents", config.latents is None, f"None {where}")
        for field in ("image_crop", "augment"):
            must(f"data.{field}", config.data.get(field) is None, f"None {where}")
        return
    allowed = f"a folder for conditions.vector.name={conditions.EMBEDDING}, None without it"
    must(name, (encoder is not None) == (vector == conditions.EMBEDDING), allowed)
    allowed = f"None with conditions.vector.name={conditions.EMBEDDING}"
    must("latents", encoder is None or config.latents is None, allowed)


def conditions_of(config: Config) -> dict[str, str]:
    """The names of the conditions that a config chooses, by the network's names for what they describe.

    >>> from experiments.configs.images import digits, smoke
    >>> conditions_of(smoke.get_config()), conditions_of(digits.get_config("superres"))
    ({}, {'dense_map': 'average_pool'})
    """
    given = config.get("conditions", {})
    named = {name: given[section].name for name, section in conditions.SECTIONS.items() if section in given}
    return {name: value for name, value in named.items() if value != "none"}


def on_captions(config: Config) -> bool:
    """Whether captions are a condition."""
    chosen = conditions_of(config)
    return chosen.get("tokens") == TOKENS or chosen.get("vector") == POOLED


def describe_conditions(config: Config) -> str:
    """The conditions of a config, for error messages.

    >>> from experiments.configs.images import digits, smoke
    >>> describe_conditions(smoke.get_config()), describe_conditions(digits.get_config("superres"))
    ('its class alone', 'config.conditions.map.name=average_pool')
    """
    named = conditions_of(config).items()
    given = [f"config.conditions.{conditions.SECTIONS[name]}.name={value}" for name, value in named]
    return ", ".join(given) or "its class alone"


def source_of(config: Config) -> Source:
    """The encoder of captions of a config."""
    given = config.conditions.captions
    return Source(given.encoder, given.length, config.data.get("data_dir") or DATA_DIR)


def build_conditions(config: Config, dataset: Dataset) -> dict[str, conditions.Extract]:
    """The conditions of the network apart from the class, by the network's names."""
    path = lambda name: f"conditions.{conditions.SECTIONS[name]}"
    built = {name: table.build(config, path(name), dataset=dataset) for name, table in conditions.TABLES.items()}
    return {name: extract for name, extract in built.items() if extract is not None}


def field_of(config: Config, field: str) -> Any:
    """The value of a field of the section ``data``, by default that of its kind; None where the kind has no such field.

    >>> from experiments.configs.images import smoke
    >>> field_of(smoke.get_config(), "set"), field_of(smoke.get_config(), "path")
    ('sklearn_digits', None)
    """
    value, arguments = config.data.get(field), KINDS.arguments(config.data.name)
    return arguments[field].default if value is None and field in arguments else value


def for_full_sounds(config: Config) -> Config:
    """The config of a run, for sounds of full length."""
    if config.data.name in ("notes", "phrases"):
        config.data.crop = None
    return config


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
