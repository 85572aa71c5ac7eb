"""How a network receives sounds: the nested choice ``config.data.representation``."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from experiments.cli.choices import Choices
from experiments.cli.config import named_errors, require
from experiments.cli.fields import NON_NEGATIVE
from scorekit import audio
from scorekit.arguments import Count
from scorekit.audio import ddsp, representations
from scorekit.audio.representations import Representation

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
    """What the network receives of a sound: the waveform (the default), an invertible spectrogram, or the magnitudes
    given the mel spectrogram in ``conditions.map``.""",
    ("length", "mel", "sample_rate"),
    bounds={
        "bands": Count(2, 2**16),
        "dct_power": NON_NEGATIVE,
        "fft_size": Count(2, 2**20),
        "hop": Count(1, 2**20),
        "iterations": Count(),
        "partials": Count(1, 2**10),
    },
)
_NAMES = {getattr(factory, "factory", factory): name for name, factory in REPRESENTATIONS.items()}
_POSITIONS = {"compressed": "frame", "controls": "frame", "low_rate": "sample", "waveform": "sample"}


def _opened(chosen: Callable | None) -> tuple[str, functools.partial]:
    """The chosen factory with its name; None is the waveform."""
    factory = functools.partial(chosen or representations.waveform)
    return _NAMES[getattr(factory.func, "factory", factory.func)], factory


def axes_of(chosen: Callable | None) -> tuple[str, str]:
    """A representation by name, and a position along its spatial axes: "sample", "frame", "bin", or any "position"."""
    name, factory = _opened(chosen)
    for position in ("bin", "frame"):
        if factory.keywords.get(f"by_{position}s"):
            return f"{name} by {position}s", position
    return name, _POSITIONS.get(name, "position")


def build_representation(
    chosen: Callable | None, length: int, sample_rate: int, mel: Mapping[str, Any] | None = None
) -> Representation:
    """The representation of sounds of one length.

    Args:
      chosen: a factory of :data:`REPRESENTATIONS` with its fields as arguments; None is the waveform.
      length: samples of a sound.
      sample_rate: sample rate in Hz.
      mel: arguments of :func:`scorekit.audio.make_log_mel`, of the map that the network is conditioned on; None is for
        networks without this map.
    """
    name, factory = _opened(chosen)
    supplied: dict[str, Any] = {"length": length, "sample_rate": sample_rate}
    if mel is not None:
        with named_errors("conditions.map", "conditions.map.name=mel_magnitudes", mel):
            supplied["mel"] = audio.make_log_mel(sample_rate, **mel)
    taken = inspect.signature(factory.func).parameters
    allowed = "another one without config.conditions.map.name=mel_magnitudes"
    require("mel" not in taken or mel is not None, "data.representation.name", name, allowed)
    with named_errors("data.representation", name, factory.keywords):
        return factory(**{key: value for key, value in supplied.items() if key in taken})
