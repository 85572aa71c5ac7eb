"""Conditions computed from pitches and piano rolls: excitation signals without timbre, and feature vectors.

The frequency of MIDI pitch ``p`` is ``f = 440 2^((p - 69) / 12)`` Hz. A network that is conditioned on a pulse train or
on sinusoids of the right frequencies does not have to learn pitch, only how an instrument sounds.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, Count, Positive, PositiveInt, checked
from scorekit.audio._checks import check_signal
from scorekit.checks import check_classes
from scorekit.typing import Array, ArrayLike


@checked
def pulse_train(pitch: ArrayLike, length: PositiveInt, sample_rate: Positive[float]) -> Array:
    """A band-limited pulse train at a pitch: ``1 / 32 sum_k cos(2 pi k f n / sample_rate)``.

    The sum is over all partials below half the sample rate, in closed form (a Dirichlet kernel). A pitch of NaN gives
    NaN. Frequencies are float32: at 16 kHz the error is at most 1 % of the signal in 10 s, and 5 % in a minute, where
    :func:`scorekit.audio.ddsp.harmonics` keeps the phase.

    Args:
      pitch: MIDI pitches ``(B,)``, any real numbers.
      length: number n of samples.
      sample_rate: sample rate in Hz.

    Returns:
      float32 signals ``(B, length)``.

    >>> pulse_train(jnp.array([69]), 400, 4000)[0, 0].round(4)  # four partials below 2 kHz
    Array(0.125, dtype=float32)
    """
    check_signal("(B,)", pitch=pitch)
    pitch = jnp.asarray(pitch, jnp.float32)[:, None]
    turns = 440.0 / sample_rate * 2.0 ** ((pitch - 69.0) / 12.0)  # cycles per sample
    half = jnp.pi * (turns * jnp.arange(length) % 1.0)
    count = jnp.ceil(0.5 / turns) - 1.0
    peak = jnp.sin(half) < 1e-4
    sums = 0.5 * (jnp.sin((2.0 * count + 1.0) * half) / jnp.where(peak, 1.0, jnp.sin(half)) - 1.0)
    return jnp.where(peak, count, sums) / 32.0


@checked
def harmonic_tones(
    roll: Annotated[ArrayLike, Between(0, 127)],
    length: PositiveInt,
    sample_rate: Positive[float],
    count: PositiveInt = 3,
    lowest: Annotated[int, Count(0, 127)] = 36,
    highest: Annotated[int, Count(0, 127)] = 84,
) -> Array:
    """The first partials of every active key of a piano roll, as sines and cosines.

    Channels ``2 k`` and ``2 k + 1`` are the sums of ``velocity / 127 sin`` and ``cos(2 pi (k + 1) f n / sample_rate)``
    over the active keys; partials above half the sample rate are left out.

    Args:
      roll: velocities ``(B, T, 128)``, 0 for keys that are up; frame ``m`` starts at sample ``m length / (T - 1)``.
      length: number n of samples, a multiple of ``T - 1``.
      sample_rate: sample rate in Hz.
      count: number of partials.
      lowest: lowest MIDI pitch.
      highest: highest MIDI pitch, included, at least ``lowest``.

    Returns:
      float32 tones ``(B, length, 2 count)``.

    >>> tones = harmonic_tones(127 * np.eye(5, 128, 69)[None], 400, 4000, count=2)  # key 69, then 70, 71, ...
    >>> tones.shape, tones.dtype
    ((1, 400, 4), dtype('float32'))
    """
    check_signal("(B, T, 128)", roll=roll)
    if jnp.shape(roll)[2] != 128:
        raise ValueError(f"roll must be (B, T, 128), got {jnp.shape(roll)}")
    _check_pitches(lowest, highest)
    frames = jnp.shape(roll)[1] - 1
    if frames < 1 or length % frames:
        raise ValueError(f"length must be a multiple of {frames}, the frames of the roll but one, got {length}")
    hop = length // frames
    pitch = np.arange(lowest, highest + 1)
    turns = np.arange(1, count + 1)[:, None] * 440.0 / sample_rate * 2.0 ** ((pitch - 69.0) / 12.0)
    active = jnp.asarray(roll, jnp.float32)[:, :-1, lowest : highest + 1] / 127.0
    angle = 2 * np.pi * (turns * np.arange(length)[:, None, None] % 1.0)
    sines = np.stack([np.sin(angle), np.cos(angle)], axis=2) * (turns < 0.5)[:, None]
    sines = jnp.asarray(sines.reshape(frames, hop, 2 * count, len(pitch)), jnp.float32)
    sums = jnp.einsum("btp,thcp->bthc", active, sines)
    return sums.reshape(len(active), -1, 2 * count)


@checked
def pitch_velocity_features(
    pitch: ArrayLike,
    velocity: ArrayLike,
    lowest: Annotated[int, Count(0, 127)] = 36,
    highest: Annotated[int, Count(0, 127)] = 84,
) -> Array:
    """Pitch as a one-hot vector and ``log2(velocity / 127)``.

    A pitch outside ``lowest..highest`` gives zeros.

    Args:
      pitch: MIDI pitches ``(B,)``, integers.
      velocity: MIDI velocities ``(B,)``, integers from 0 to 127.
      lowest: lowest MIDI pitch.
      highest: highest MIDI pitch, included, at least ``lowest``.

    Returns:
      float32 features ``(B, highest - lowest + 2)``.

    >>> pitch_velocity_features(jnp.array([37]), jnp.array([127]), lowest=36, highest=38).tolist()
    [[0.0, 1.0, 0.0, 0.0]]
    """
    check_signal("(B,)", pitch=pitch, velocity=velocity)
    if jnp.shape(pitch) != jnp.shape(velocity):
        shapes = jnp.shape(pitch), jnp.shape(velocity)
        raise ValueError(f"pitch and velocity must be of equal length, got {shapes[0]} and {shapes[1]}")
    check_classes(128, pitch=pitch, velocity=velocity)
    _check_pitches(lowest, highest)
    one_hot = jax.nn.one_hot(jnp.asarray(pitch) - lowest, highest - lowest + 1)
    loudness = jnp.log2(jnp.maximum(jnp.asarray(velocity, jnp.float32), 1.0) / 127.0)
    return jnp.concatenate([one_hot, loudness[:, None]], axis=1)


def _check_pitches(lowest: int, highest: int) -> None:
    if lowest > highest:
        raise ValueError(f"lowest must be at most highest = {highest}, got {lowest}")
