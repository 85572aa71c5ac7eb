"""Conditions beside the class, each computed from a batch of clean examples: what a network may be told about them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.config import Config, ConfigError, require, resolve
from experiments.datasets import Dataset, as_seen
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
    sample_rate: int | None,
    to_sound: Callable[[Array], Array],
    num_mels: int = 40,
    fft_size: int = 256,
    hop: int = 64,
    f_min: float = 40.0,
) -> Extract:
    """Sounds to their log-mel spectrogram in nepers, ``(B, 1 + ceil(L / hop), num_mels)``, brought to unit order.

    Windows of ``fft_size`` samples, Slaney's filters up to half the sample rate, of the sound at full scale 1;
    ``(log max(mel, 1e-5) + 6) / 3`` is what the network is told.
    """
    if sample_rate is None:
        raise ValueError("name must be that of a map of this data set, which has no sound, got log_mel")
    bank, window = audio.mel_filter_bank(sample_rate, fft_size, num_mels=num_mels, f_min=f_min), audio.hann(fft_size)
    return lambda batch: (audio.log_mel(to_sound(batch["x"]), bank, window, hop) + 6.0) / 3.0


def piano_roll(lowest: int = 36, highest: int = 84) -> Extract:
    """Phrases to the keys that are down in each frame, ``velocity / 127`` of each: ``(B, T, pitches)``."""
    return lambda batch: jnp.asarray(batch["roll"], jnp.float32)[..., lowest : highest + 1] / 127.0


def partials(sample_rate: int | None, count: int = 4) -> Extract:
    """Notes to sinusoids at the first partials of their pitch, ``(B, L, 2 count)``, for networks of waveforms.

    Channels ``2 k`` and ``2 k + 1`` are ``sin`` and ``cos(2 pi (k + 1) f n / sample_rate)`` of the fundamental ``f``,
    or zero where the partial is not below half the sample rate. A pitch told so is exact, and what is left to the
    network is how loud each partial is, and when.
    """
    if sample_rate is None:
        raise ValueError("name must be that of a map of this data set, which has no sound, got partials")

    def sinusoids(batch):
        n = jnp.arange(jnp.shape(batch["stored"])[1])
        turns = _turns(batch["pitch"], sample_rate)[:, None]
        angle = 2.0 * jnp.pi * (turns * n % 1.0)[..., None] * jnp.arange(1, count + 1)
        heard = (jnp.arange(1, count + 1) * turns < 0.5)[:, None, :, None]
        both = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1) * heard
        return both.reshape(*angle.shape[:2], 2 * count)

    return sinusoids


def comb(sample_rate: int | None) -> Extract:
    """Notes to where the partials of their pitch lie, ``(B, 1, bins, 2)``, for networks of spectrograms.

    Of each bin, for the partial nearest to it: ``exp(-d^2 / 2)`` at ``d`` bins from it, and its instantaneous frequency
    as the form ``spectrogram`` has it, half turns from frame to frame in [-1, 1).
    """
    if sample_rate is None:
        raise ValueError("name must be that of a map of this data set, which has no sound, got comb")

    def teeth(batch):
        frames, bins = batch["x"].shape[1:3]
        turns = _turns(batch["pitch"], sample_rate)[:, None]
        places = jnp.arange(bins) / (2.0 * bins)  # turns in a sample
        nearest = turns * jnp.maximum(jnp.round(places / turns), 1.0)
        close = jnp.exp(-0.5 * (2.0 * bins * (places - nearest)) ** 2)
        half_turns = 2.0 * nearest * (jnp.shape(batch["stored"])[1] // frames)
        return jnp.stack([close, (half_turns + 1.0) % 2.0 - 1.0], axis=-1)[:, None]

    return teeth


def pulses(sample_rate: int | None, to_model: Callable[[Array], Array]) -> Extract:
    """Notes to a train of pulses at their pitch, in the form that the network sees.

    ``1 / 32 sum_k cos(2 pi k f n / sample_rate)`` over all partials below half the sample rate: a sound of this pitch
    and of no timbre.
    """
    if sample_rate is None:
        raise ValueError("name must be that of a map of this data set, which has no sound, got pulses")

    def train(batch):
        turns = _turns(batch["pitch"], sample_rate)[:, None]
        half = jnp.pi * (turns * jnp.arange(jnp.shape(batch["stored"])[1]) % 1.0)
        count = jnp.ceil(0.5 / turns) - 1.0
        low = jnp.where(jnp.sin(half) < 1e-4, 1.0, jnp.sin(half))  # the limit there is the number of partials
        sums = jnp.where(jnp.sin(half) < 1e-4, count, 0.5 * (jnp.sin((2.0 * count + 1.0) * half) / low - 1.0))
        return to_model(audio.float_to_pcm(sums / 32.0))

    return train


def _turns(pitch, sample_rate: int) -> Array:
    """The frequency of MIDI pitches in turns to a sample."""
    return 440.0 / sample_rate * 2.0 ** ((jnp.asarray(pitch, jnp.float32) - 69.0) / 12.0)


MAPS: Mapping[str, Callable] = {
    "average_pool": average_pool,
    "comb": comb,
    "log_mel": log_mel,
    "none": lambda: None,
    "partials": partials,
    "piano_roll": piano_roll,
    "pulses": pulses,
}
VECTORS: Mapping[str, Callable] = {"moments": moments, "none": lambda: None, "pitch_velocity": pitch_velocity}


SECTIONS = {"vector": "vector", "dense_map": "map"}
"""The sections of ``config.data`` by the network's names for what they describe."""


def build_conditions(config: Config, dataset: Dataset) -> dict[str, Extract]:
    """What the network is told beside the class, by the network's name for it."""
    offered = {"sample_rate": dataset.sample_rate, "to_model": dataset.to_model, "to_sound": dataset.to_sound}
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
