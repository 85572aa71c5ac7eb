"""The controls of the synthesiser as a representation for networks: notes of known pitch, analysed and played again.

A diffusion model of controls is latent diffusion whose decoder is not learned: its samples are frequencies, amplitudes
and noise bands, and the sound is what :func:`synthesise` plays of them.
"""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, Finite, Positive, PositiveInt, checked
from scorekit.audio._checks import Window, check_signal
from scorekit.audio.ddsp.analysis import analyse, refine_f0
from scorekit.audio.ddsp.synthesis import filtered_noise, harmonics, upsample
from scorekit.audio.fourier import num_frames
from scorekit.audio.representations import Representation
from scorekit.checks import check
from scorekit.typing import Array, ArrayLike, Key, Number

PITCH_CHANNELS = 8
"""The first channels of a frame of :func:`note_controls`: seven bits of the pitch, and the deviation from it."""
_BITS, _FINE = PITCH_CHANNELS - 1, 0.1  # bits of a MIDI pitch, and semitones of a unit of the deviation
_POWERS = 2 ** np.arange(_BITS)[::-1]


@checked
def synthesise(
    key: Key,
    f0: ArrayLike,
    amplitudes: ArrayLike,
    bands: ArrayLike,
    sample_rate: Positive[float],
    hop: PositiveInt,
    length: PositiveInt,
) -> Array:
    """The sound of the controls of frames: ``harmonics(f0, amplitudes) + filtered_noise(bands)``.

    Frequencies are interpolated linearly, amplitudes by Hann windows. The sound is linear in the amplitudes.

    Args:
      key: PRNG key.
      f0: frequencies of the first partial ``(..., frames)`` in Hz, from 0 to half the sample rate.
      amplitudes: amplitudes of the partials ``(..., frames, K)``; those at or above half the sample rate are not
        played.
      bands: magnitudes of the noise ``(..., frames, K)``, K >= 2, >= 0, at equal spacing from 0 to half the sample
        rate, included.
      sample_rate: sample rate in Hz.
      hop: samples from one frame to the next.
      length: number of samples of the signal.

    >>> controls = jnp.full(5, 100.0), jnp.ones((5, 3)), jnp.zeros((5, 9))
    >>> synthesise(jax.random.key(0), *controls, 1000.0, 16, 64).shape
    (64,)
    """
    check_signal("(..., frames)", f0=f0)
    check_signal("(..., frames, K)", amplitudes=amplitudes)
    frames = num_frames(length, hop)
    for name, found in (("f0", jnp.shape(f0)[-1]), ("amplitudes", jnp.shape(amplitudes)[-2])):
        if found != frames:
            raise ValueError(f"{name} must have {frames} frames for a length of {length} and hop of {hop}, got {found}")
    pitch = upsample(jnp.asarray(f0)[..., None], hop, length)[..., 0]
    tones = harmonics(pitch, upsample(amplitudes, hop, length, "hann"), sample_rate)
    return tones + filtered_noise(key, bands, hop, length)


@checked
def note_controls(
    length: PositiveInt,
    sample_rate: Positive[float],
    partials: PositiveInt = 30,
    bands: Annotated[int, Count(2)] = 16,
    hop: PositiveInt = 64,
    window: Window = 256,
    floor: Positive[Number] = 1e-3,
    log_mean: Finite[Number] = -5.0,
    log_std: Positive[Number] = 1.5,
) -> Representation:
    """Notes as controls of the synthesiser, a signal of frames ``(B, L / hop, 8 + partials + bands)``.

    The channels of a frame are the seven bits of its pitch, the MIDI pitch p that is given, rounded, the highest first
    and each -1 or 1, and the deviation from it in tenths of a semitone; then ``(log(a + floor) - log_mean) / log_std``
    of the amplitudes of the partials and of the magnitudes of the noise. Decoding takes a bit as 1 where its mean over
    the frames is positive, so that a model plays in tune; the noise of a row of a batch is the same in every call. The
    last frame, whose window is half outside the sound, repeats the one before.

    Args:
      length: number L of samples, a multiple of ``hop``.
      sample_rate: sample rate in Hz.
      partials: number of partials.
      bands: number of noise bands, at most ``window / 4 + 1``.
      hop: samples from one frame to the next.
      window: samples of a frame of the analysis, at least two periods of the lowest pitch.
      floor: number added to amplitudes and magnitudes; a full-scale sine has the amplitude 1.
      log_mean: typical mean of the logarithms.
      log_std: typical standard deviation of the logarithms.

    Returns:
      The representation; ``encode`` needs the MIDI pitches ``(B,)`` of the notes as its second argument, and
      ``controls`` are the arguments of :func:`synthesise`, ``f0``, ``amplitudes`` and ``bands`` of the frames. Sounds
      must not be silent, and a pitch must have a harmonic below half the sample rate.

    >>> representation = note_controls(512, 4000.0, partials=4, bands=5)
    >>> sound = 0.5 * jnp.sin(2 * jnp.pi * 440 / 4000 * jnp.arange(512))[None]
    >>> x = jax.jit(representation.encode)(sound, jnp.array([69]))
    >>> x.shape, jax.jit(representation.decode)(x).shape
    ((1, 8, 17), (1, 512))

    Source: Engel et al. 2020 (https://arxiv.org/abs/2001.04643) for the controls; Chen et al. 2022, "Analog bits"
    (https://arxiv.org/abs/2208.04202), for the pitch.
    """
    if length % hop or bands > window // 4 + 1:
        raise ValueError(
            f"hop must divide the {length} samples and bands be at most window / 4 + 1, got {hop}, {bands}"
        )
    highest = 0.5 * sample_rate
    top = 69.0 + 12.0 * math.log2(highest / 440.0)
    within = f"from 0 to below {top:.1f}, half the sample rate of {sample_rate:g} Hz, to have a harmonic that is heard"

    def encode(sound, pitch=None):
        if pitch is None:
            raise ValueError("pitch must be the MIDI pitches of the notes, got None: no partials without a pitch")
        sound, pitch = jnp.asarray(sound), jnp.asarray(pitch, jnp.float32)
        check(lambda p: (p >= 0) & (p < top), within, pitch=pitch)
        f0 = refine_f0(sound, _hertz(pitch), sample_rate, hop=hop, window=window)
        found = analyse(sound, f0, sample_rate, partials, bands=bands, hop=hop, window=window)
        semitones = 69.0 + 12.0 * jnp.log2(f0 / 440.0)
        note = jnp.round(pitch)[..., None]
        bits = jnp.where(note[..., None].astype(int) // _POWERS % 2 == 1, 1.0, -1.0)
        bits = jnp.broadcast_to(bits, (*semitones.shape, _BITS))
        logs = (jnp.log(jnp.concatenate([found.amplitudes, found.bands], -1) + floor) - log_mean) / log_std
        return jnp.concatenate([bits, (semitones - note)[..., None] / _FINE, logs], -1)[..., :-1, :]

    def controls(x):
        x = jnp.asarray(x, jnp.float32)
        bits, deviation, logs = jnp.split(x, (_BITS, PITCH_CHANNELS), -1)
        note = jnp.sum(jnp.where(bits.mean(-2, keepdims=True) > 0, _POWERS, 0), -1)
        f0 = jnp.clip(_hertz(note + _FINE * deviation[..., 0]), 0.0, highest)
        sizes = jnp.maximum(jnp.exp(jnp.minimum(logs * log_std + log_mean, 2.0)) - floor, 0.0)
        return f0, sizes[..., :partials], sizes[..., partials:]

    def decode(x, dense_map=None):
        axis = jnp.ndim(x) - 2
        repeated = lambda c: jnp.concatenate([c, jax.lax.slice_in_dim(c, -1, None, axis=axis)], axis)
        f0, amplitudes, noise = map(repeated, controls(x))
        return synthesise(jax.random.key(0), f0, amplitudes, noise, sample_rate, hop, length)

    return Representation(encode, decode, controls)


def _hertz(pitch: Array) -> Array:
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
