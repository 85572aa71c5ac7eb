"""The section ``config.data.representation``: how a network receives sounds."""

from collections.abc import Collection
from typing import NamedTuple

import jax.numpy as jnp

from experiments.cli.choices import Choices
from experiments.cli.config import Config, choice, named_errors, require
from experiments.cli.fields import NON_NEGATIVE
from scorekit import audio
from scorekit.arguments import Count
from scorekit.audio import ddsp, representations
from scorekit.audio.representations import Representation

_SUPPLIED = ("length", "mel", "sample_rate")
REPRESENTATIONS = Choices(
    {
        "compressed": representations.compressed,
        "controls": ddsp.note_controls,
        "log_magnitudes": representations.log_magnitudes,
        "low_rate": representations.low_rate,
        "magnitudes": representations.magnitudes,
        "spectrogram": representations.spectrogram,
        "waveform": representations.waveform,
    },
    None,
    """Sounds: what the network receives: the waveform (the default), an invertible spectrogram, or the magnitudes given
    the mel spectrogram in ``map``.""",
    _SUPPLIED,
    bounds={
        "bands": Count(2, 2**16),
        "dct_power": NON_NEGATIVE,
        "fft_size": Count(2, 2**20),
        "hop": Count(1, 2**20),
        "iterations": Count(),
        "partials": Count(1, 2**10),
    },
)
_OF_IMAGES = ("log_magnitudes", "magnitudes", "spectrogram")


def spatial_axes(config: Config) -> int:
    """2 where a sound is an image of frames and bins to the network, else 1."""
    options = config.data.representation
    name = choice("data.representation.name", options.name or "waveform", REPRESENTATIONS)
    return 2 if name in _OF_IMAGES and not options.get("by_bins") and not options.get("by_frames") else 1


class Axes(NamedTuple):
    """The representation by name, and what a position along its spatial axes is: a sample, frame or bin, or any."""

    name: str
    positions: str


def axes_of(config: Config) -> Axes:
    """The spatial axes of sounds as the network receives them."""
    options = config.data.representation
    name = options.name or "waveform"
    if options.get("by_bins"):
        return Axes(f"{name} by bins", "bin")
    if options.get("by_frames"):
        return Axes(f"{name} by frames", "frame")
    known = {"compressed": "frame", "controls": "frame", "low_rate": "sample", "waveform": "sample"}
    return Axes(name, known.get(name, "position"))


def needs_pitch(config: Config) -> bool:
    """Whether sounds are encoded by their pitch as well."""
    return config.data.representation.name == "controls"


def check_needs_no_pitch(config: Config) -> None:
    """Raises a :class:`ConfigError` for a representation by the pitch where the sounds alone are at hand."""
    name = "controls" if needs_pitch(config) else None
    require(name is None, "data.representation.name", name, "another one: these sounds come without their pitch here")


def check_representation(config: Config, fields: Collection[str] = ()) -> None:
    """Validates that the fields which it needs are set, and that the ``fields`` of a batch have what it needs."""
    named = "controls" if needs_pitch(config) and "pitch" not in fields else None
    require(named is None, "data.representation.name", named, f"another one: {config.data.name} has no pitch")
    if "map" in config.data and config.data.map.name == "low_passed":
        check_needs_no_pitch(config)
    name = config.data.representation.name
    if name is not None:
        REPRESENTATIONS.values(config, "data.representation", f"data.representation.name={name}", name)


def build_representation(config: Config, length: int, sample_rate: int) -> Representation:
    """The representation that the config names, the waveform by default, for sounds of this length."""
    channels = config.data.get("channels") or 1
    found = _of_one_channel(config, length, sample_rate)
    return found if channels == 1 else _of_each(found, channels)


def _of_each(one: Representation, channels: int) -> Representation:
    """The representation of sounds ``(B, C, L)``: of each channel, one after the other along the last axis."""

    def encode(sound):
        found = one.encode(sound.reshape(-1, sound.shape[-1]))
        found = jnp.moveaxis(found.reshape(-1, channels, *found.shape[1:]), 1, -2)
        return found.reshape(*found.shape[:-2], -1)

    def decode(x, dense_map=None):
        parts = jnp.moveaxis(x.reshape(*x.shape[:-1], channels, -1), -2, 1)
        return one.decode(parts.reshape(-1, *parts.shape[2:])).reshape(len(x), channels, -1)

    return Representation(encode, decode)


def _of_one_channel(config: Config, length: int, sample_rate: int) -> Representation:
    name = config.data.representation.name
    if name is None:
        return representations.waveform()
    mel, with_mel = None, "map" in config.data and config.data.map.name == "mel_magnitudes"
    if with_mel:
        chosen = "data.map.name=mel_magnitudes"
        given = {key: value for key, value in config.data.map.items() if key != "name" and value is not None}
        with named_errors("data.map", chosen, given):
            mel = audio.make_log_mel(sample_rate, **given)
    allowed = "another one without config.data.map.name=mel_magnitudes"
    require(name != "magnitudes" or with_mel, "data.representation.name", name, allowed)
    return REPRESENTATIONS.build(config, "data.representation", length=length, mel=mel, sample_rate=sample_rate)
