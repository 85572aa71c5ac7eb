"""Conditions beside the class, each computed from a batch of clean examples: what a network may be told about them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import mels
from experiments.cli.config import Config, ConfigError, require, resolve
from experiments.data.dataset import Dataset, as_seen
from scorekit import audio
from scorekit.guidance import operators
from scorekit.typing import Array

Extract = Callable[[Mapping[str, Any]], Array]
"""From a batch whose ``x`` is in the form that the network sees, ``stored`` and its other fields as they are stored."""


def average_pool(factor: int = 2) -> Extract:
    """Images to their means over squares of ``factor`` pixels: a low-resolution copy."""
    pool = operators.average_pool(factor)
    return lambda batch: pool(batch["x"])


def moments() -> Extract:
    """Any examples to their mean and standard deviation over all values, ``(B, 2)``: brightness and contrast."""

    def both(batch):
        flat = batch["x"].reshape(batch["x"].shape[0], -1)
        return jnp.stack([flat.mean(1), flat.std(1)], axis=1)

    return both


def pitch_velocity(lowest: int = 36, highest: int = 84) -> Extract:
    """Notes to their pitch, one-hot from ``lowest`` to ``highest``, and ``log2(velocity / 127)``: ``(B, pitches + 1)``.

    A pitch outside the range is no pitch at all.
    """

    def vector(batch):
        one_hot = jax.nn.one_hot(jnp.asarray(batch["pitch"]) - lowest, highest - lowest + 1)
        loudness = jnp.log2(jnp.maximum(jnp.asarray(batch["velocity"], jnp.float32), 1.0) / 127.0)
        return jnp.concatenate([one_hot, loudness[:, None]], axis=1)

    return vector


def log_mel(
    sample_rate: int | None, num_mels: int = 40, fft_size: int = 256, hop: int = 64, f_min: float = 40.0
) -> Extract:
    """Sounds to their log-mel spectrogram, brought to unit order; see :mod:`experiments.mels`."""
    spectrogram = mels.log_mel(sample_rate, num_mels, fft_size, hop, f_min)
    return lambda batch: spectrogram.told(audio.pcm_to_float(jnp.asarray(batch["stored"])))


def mel_magnitudes(
    sample_rate: int | None, num_mels: int = 40, fft_size: int = 256, hop: int = 64, f_min: float = 40.0
) -> Extract:
    """The same as two images ``(B, L / hop, fft_size / 2, 2)``: its envelope, and the magnitudes nearest to it."""
    spectrogram = mels.log_mel(sample_rate, num_mels, fft_size, hop, f_min)
    sound = lambda batch: audio.pcm_to_float(jnp.asarray(batch["stored"]))
    return lambda batch: spectrogram.images(spectrogram.told(sound(batch)))


def low_rate(sample_rate: int | None, factor: int = 4, scale: float = 1.0) -> Extract:
    """Sounds to their samples times ``scale`` at ``1 / factor`` of the sample rate, ``(B, L / factor, 1)``."""
    if sample_rate is None:
        raise ValueError("name must be that of a map of this data set, which has no sound, got low_rate")
    return lambda batch: scale * audio.low_rate(audio.pcm_to_float(jnp.asarray(batch["stored"])), factor)[..., None]


def piano_roll(lowest: int = 36, highest: int = 84) -> Extract:
    """Phrases to the keys that are down in each frame, ``velocity / 127`` of each: ``(B, T, pitches)``."""
    return lambda batch: jnp.asarray(batch["roll"], jnp.float32)[..., lowest : highest + 1] / 127.0


def pulses(sample_rate: int | None, to_model: Callable[[Array], Array]) -> Extract:
    """Notes to a train of pulses at their pitch, in the form that the network sees.

    ``1 / 32 sum_k cos(2 pi k f n / sample_rate)`` over all partials of ``f = 440 2^((pitch - 69) / 12)`` Hz below half
    the sample rate: a sound of this pitch and of no timbre.
    """
    if sample_rate is None:
        raise ValueError("name must be that of a map of this data set, which has no sound, got pulses")

    def train(batch):
        pitch = jnp.asarray(batch["pitch"], jnp.float32)[:, None]
        turns = 440.0 / sample_rate * 2.0 ** ((pitch - 69.0) / 12.0)  # in a sample
        half = jnp.pi * (turns * jnp.arange(jnp.shape(batch["stored"])[1]) % 1.0)
        count = jnp.ceil(0.5 / turns) - 1.0
        peak = jnp.sin(half) < 1e-4
        sums = 0.5 * (jnp.sin((2.0 * count + 1.0) * half) / jnp.where(peak, 1.0, jnp.sin(half)) - 1.0)
        return to_model(audio.float_to_pcm(jnp.where(peak, count, sums) / 32.0))

    return train


def tones(sample_rate: int | None, count: int = 3, lowest: int = 36, highest: int = 84) -> Extract:
    """Phrases as a tone generator plays their roll: the first partials of every key that is down, ``(B, L, 2 count)``.

    Channels ``2 k`` and ``2 k + 1`` are the sums of ``velocity / 127 sin`` and ``cos(2 pi (k + 1) f n / sample_rate)``
    over the keys from ``lowest`` to ``highest``, ``f = 440 2^((pitch - 69) / 12)`` Hz, without partials above half the
    sample rate. What is left to the network is how an instrument sounds. ``L`` is a multiple of the frames' number - 1.
    """
    if sample_rate is None:
        raise ValueError("name must be that of a map of this data set, which has no sound, got tones")
    pitch = np.arange(lowest, highest + 1)
    turns = np.arange(1, count + 1)[:, None] * 440.0 / sample_rate * 2.0 ** ((pitch - 69.0) / 12.0)

    def played(batch):
        roll = jnp.asarray(batch["roll"], jnp.float32)[:, :-1, lowest : highest + 1] / 127.0
        hop = np.shape(batch["stored"])[1] // roll.shape[1]
        angle = 2 * np.pi * (turns * np.arange(hop * roll.shape[1])[:, None, None] % 1.0)
        sines = np.stack([np.sin(angle), np.cos(angle)], axis=2) * (turns < 0.5)[:, None]
        sines = jnp.asarray(sines.reshape(roll.shape[1], hop, 2 * count, len(pitch)), jnp.float32)
        sums = jnp.einsum("btp,thcp->bthc", roll, sines)
        return sums.reshape(len(roll), -1, 2 * count)

    return played


MAPS: Mapping[str, Callable] = {
    "average_pool": average_pool,
    "log_mel": log_mel,
    "mel_magnitudes": mel_magnitudes,
    "low_rate": low_rate,
    "none": lambda: None,
    "piano_roll": piano_roll,
    "pulses": pulses,
    "tones": tones,
}
VECTORS: Mapping[str, Callable] = {"moments": moments, "none": lambda: None, "pitch_velocity": pitch_velocity}


SECTIONS = {"vector": "vector", "dense_map": "map"}
"""The sections of ``config.data`` by the network's names for what they describe."""


def build_conditions(config: Config, dataset: Dataset) -> dict[str, Extract]:
    """What the network is told beside the class, by the network's name for it."""
    offered = {"sample_rate": dataset.sample_rate, "to_model": dataset.to_model}
    found = {
        "vector": resolve(config, "data.vector", VECTORS),
        "dense_map": resolve(config, "data.map", MAPS, **offered),
    }
    return {name: extract for name, extract in found.items() if extract is not None}


def dropout_rates(config: Config) -> dict[str, float]:
    """The probability of dropping each condition by itself."""
    given = {name: section for name, section in SECTIONS.items() if config.data[section].name != "none"}
    extra = {name: config.loss[f"{section}_dropout"] for name, section in given.items()}
    return {"labels": config.loss.label_dropout, **extra}


def check_dropout(config: Config) -> None:
    """Refuses rates that are no probabilities, and rates for conditions that the config does not have."""
    for field in ("label_dropout", "vector_dropout", "map_dropout", "joint_dropout"):
        require(0 <= config.loss[field] <= 1, f"loss.{field}", config.loss[field], "in [0, 1]")
    most, level = config.loss.map_noise, config.sampling.map_noise
    require(most is None or 0 < most <= 1, "loss.map_noise", most, "above 0 and at most 1, or None")
    require(most is None or config.data.map.name != "none", "loss.map_noise", most, "None without config.data.map")
    allowed = f"from 0 to config.loss.map_noise={most or 0:g}"
    require(level is None or 0 <= level <= (most or 0), "sampling.map_noise", level, allowed)


def sizes(found: Mapping[str, Extract], dataset: Dataset) -> dict[str, Any]:
    """``vector_size`` and ``map_shape`` of a network for the examples of this set.

    Raises:
      ConfigError: for examples that do not have what is extracted from them.
    """
    one = as_seen(dataset, {name: value[:1] for name, value in dataset.test.items()})
    shapes: dict[str, tuple[int, ...]] = {}
    for name, extract in found.items():
        try:
            shapes[name] = jax.eval_shape(extract, one).shape[1:]
        except (KeyError, ValueError) as error:
            why = f"{dataset.name} has no field {error}" if isinstance(error, KeyError) else error
            raise ConfigError(f"config.data.{SECTIONS[name]}: {why}") from error
    vector = shapes.get("vector")
    return {"vector_size": vector and math.prod(vector), "map_shape": shapes.get("dense_map")}
