"""Conditions computed from pitches and piano rolls: excitation signals without timbre, and feature vectors.

The frequency of MIDI pitch ``p`` is ``f = 440 2^((p - 69) / 12)`` Hz. A network that is conditioned on a pulse train or
on sinusoids of the right frequencies does not have to learn pitch, only how an instrument sounds.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.typing import Array, ArrayLike


def pulse_train(pitch: ArrayLike, length: int, sample_rate: float) -> Array:
    """A band-limited pulse train at a pitch: ``1 / 32 sum_k cos(2 pi k f n / sample_rate)``.

    The sum is over all partials below half the sample rate, in closed form (a Dirichlet kernel).

    Args:
      pitch: MIDI pitches ``(B,)``.
      length: samples n.
      sample_rate: in Hz.

    Returns:
      float32 ``(B, length)``.

    >>> x = jax.jit(pulse_train, static_argnums=(1, 2))(jnp.array([69]), 400, 4000)
    >>> x.shape, round(float(x[0, 0]), 4)  # four partials below 2 kHz
    ((1, 400), 0.125)
    """
    pitch = jnp.asarray(pitch, jnp.float32)[:, None]
    turns = 440.0 / sample_rate * 2.0 ** ((pitch - 69.0) / 12.0)  # cycles per sample
    half = jnp.pi * (turns * jnp.arange(length) % 1.0)
    count = jnp.ceil(0.5 / turns) - 1.0
    peak = jnp.sin(half) < 1e-4
    sums = 0.5 * (jnp.sin((2.0 * count + 1.0) * half) / jnp.where(peak, 1.0, jnp.sin(half)) - 1.0)
    return jnp.where(peak, count, sums) / 32.0


def harmonic_tones(
    roll: ArrayLike, length: int, sample_rate: float, count: int = 3, lowest: int = 36, highest: int = 84
) -> Array:
    """The first partials of every active key of a piano roll, as sines and cosines.

    Channels ``2 k`` and ``2 k + 1`` are the sums of ``velocity / 127 sin`` and ``cos(2 pi (k + 1) f n / sample_rate)``
    over the active keys; partials above half the sample rate are left out.

    Args:
      roll: velocities ``(B, T, 128)``, 0 for keys that are up; frame ``m`` starts at sample ``m length / (T - 1)``.
      length: samples n, a multiple of ``T - 1``.
      sample_rate: in Hz.
      count: number of partials.
      lowest: lowest MIDI pitch.
      highest: highest MIDI pitch, included.

    Returns:
      float32 ``(B, length, 2 count)``.

    Raises:
      ValueError: if ``length`` is not a multiple of ``T - 1``.

    >>> roll = np.zeros((1, 5, 128), np.uint8)
    >>> roll[0, :2, 69] = 127
    >>> tones = np.asarray(jax.jit(lambda roll: harmonic_tones(roll, 400, 4000, count=2))(roll))
    >>> tones.shape, bool(np.any(tones[0, :200])), bool(np.any(tones[0, 200:]))
    ((1, 400, 4), True, False)
    """
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


def pitch_velocity_features(pitch: ArrayLike, velocity: ArrayLike, lowest: int = 36, highest: int = 84) -> Array:
    """Pitch as a one-hot vector and ``log2(velocity / 127)``.

    Args:
      pitch: MIDI pitches ``(B,)``; one outside ``lowest..highest`` gives zeros.
      velocity: MIDI velocities ``(B,)``.
      lowest: lowest MIDI pitch.
      highest: highest MIDI pitch, included.

    Returns:
      float32 ``(B, highest - lowest + 2)``.

    >>> features = jax.jit(lambda *notes: pitch_velocity_features(*notes, lowest=36, highest=38))
    >>> features(jnp.array([37]), jnp.array([127])).tolist()
    [[0.0, 1.0, 0.0, 0.0]]
    """
    one_hot = jax.nn.one_hot(jnp.asarray(pitch) - lowest, highest - lowest + 1)
    loudness = jnp.log2(jnp.maximum(jnp.asarray(velocity, jnp.float32), 1.0) / 127.0)
    return jnp.concatenate([one_hot, loudness[:, None]], axis=1)
