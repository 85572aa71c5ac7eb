"""The controls of a recording whose pitch is known: amplitudes of its partials, what remains by bands, and its pitch.

In a frame around sample ``m hop`` the partials are the sinusoids at ``k f0[m]`` nearest to the signal, by least
squares with the window as weights, so that partials which it does not separate are not counted twice. The phases of
partials that are found at a nominal frequency advance by more or less than that frequency says: what remains is the
deviation of the pitch, of every partial in units of its own number.
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, Finite, Positive, PositiveInt, checked
from scorekit.audio._checks import Window, check_signal, root
from scorekit.audio.fourier import frame, hann, magnitude, num_frames, phase
from scorekit.checks import check
from scorekit.typing import Array, ArrayLike

_RIDGE = 1e-5  # added to the normal equations, relative to a partial that is alone


class Controls(NamedTuple):
    """Arguments of :func:`.harmonics` and :func:`.filtered_noise`, frame by frame.

    Attributes:
      amplitudes: amplitudes of the partials, ``(..., frames, K)``.
      phases: phases of the partials at the centres of the frames, in turns of a sine, ``(..., frames, K)``.
      bands: magnitudes of the noise, ``(..., frames, bands)``.

    >>> Controls(amplitudes=jnp.ones((5, 3)), phases=jnp.zeros((5, 3)), bands=jnp.zeros((5, 9))).bands.shape
    (5, 9)
    """

    amplitudes: Array
    phases: Array
    bands: Array


@checked
def analyse(
    x: Finite[ArrayLike],
    f0: Positive[ArrayLike],
    sample_rate: Positive[float],
    count: PositiveInt,
    *,
    bands: Annotated[int, Count(2)] = 33,
    hop: PositiveInt = 64,
    window: Annotated[int, Count(4)] = 1024,
) -> Controls:
    """The controls of a sound of known pitch, by least squares in each frame.

    ``min sum_n w[n] (x[n] - sum_k a_k sin(2 pi (k f0 n / sample_rate + phi_k)))^2`` over the partials below half the
    sample rate, with a Hann window w; a band is the root of the mean power of the residual near its frequency, so that
    white noise of unit variance has bands of 1. Partials at or above half the sample rate have amplitude 0.

    Args:
      x: sounds ``(..., length)``, finite.
      f0: frequencies of the sounds at the frames, ``(..., frames)`` in Hz, > 0.
      sample_rate: sample rate in Hz.
      count: number of partials.
      bands: number of noise bands, at most ``window / 4 + 1``.
      hop: samples from one frame to the next.
      window: samples of a frame, at least two periods of the lowest pitch, so that partials are told apart.

    >>> x = 0.5 * jnp.sin(2 * jnp.pi * 440 * jnp.arange(2048) / 8000)
    >>> analyse(x, jnp.full(33, 440.0), 8000.0, 2).amplitudes[16].round(3).tolist()
    [0.5, 0.0]

    Source: least squares of sinusoids, Stylianou 2001, "Applying the harmonic plus noise model in concatenative speech
    synthesis".
    """
    check_signal(x=x)
    check_signal("(..., frames)", f0=f0)
    if bands > window // 4 + 1:
        raise ValueError(f"bands must be from 2 to window / 4 + 1 = {window // 4 + 1}, got {bands}")
    x, f0 = jnp.asarray(x, jnp.float32), jnp.asarray(f0, jnp.float32)
    if f0.shape != (*x.shape[:-1], num_frames(x.shape[-1], hop)):
        expected = (*x.shape[:-1], num_frames(x.shape[-1], hop))
        raise ValueError(f"f0 must be {expected} for x {x.shape} and a hop of {hop}, got {f0.shape}")
    after = (f0.shape[-1] - 1) * hop + window - window // 2 - x.shape[-1]
    around = [(0, 0)] * (x.ndim - 1) + [(window // 2, max(after, 0))]
    cut = lambda x: frame(jnp.pad(x, around), window, hop)[..., : f0.shape[-1], :].reshape(-1, window)
    one = lambda args: _analyse_frame(args[0], args[1], args[2], sample_rate, count, bands)
    found = jax.lax.map(one, (cut(x), cut(jnp.ones_like(x)), f0.reshape(-1)), batch_size=32)
    return Controls(*(a.reshape(*f0.shape, a.shape[-1]) for a in found))


def _analyse_frame(x, inside, f0, sample_rate, count, bands):
    """One frame ``(window,)``, of which ``inside`` belongs to the sound."""
    size = len(x)
    n = np.arange(size) - size // 2
    k = jnp.arange(1, count + 1)
    exists = k * f0 < 0.5 * sample_rate
    angle = 2 * jnp.pi * (k * (f0 / sample_rate) * n[:, None] % 1.0)
    waves = jnp.concatenate([jnp.where(exists, jnp.sin(angle), 0.0), jnp.where(exists, jnp.cos(angle), 0.0)], 1)
    weight = jnp.asarray(hann(size), x.dtype) * inside
    normal = jnp.einsum("nk,n,nl->kl", waves, weight, waves)
    ridge = _RIDGE * 0.5 * jnp.sum(weight) + jnp.where(jnp.tile(exists, 2), 0.0, 1.0)
    found = jnp.linalg.solve(normal + jnp.diag(ridge), waves.T @ (weight * x))
    sine, cosine = found[:count], found[count:]
    power = jnp.abs(jnp.fft.rfft(weight * (x - waves @ found))) ** 2 / jnp.sum(weight**2)
    bins, taps = power.shape[0], 2 * (bands - 1)
    near = np.maximum(1.0 - np.abs(np.arange(bins) * taps / size - np.arange(bands)[:, None]), 0.0)
    near = jnp.asarray(near / near.sum(1, keepdims=True), x.dtype)
    partials = jax.lax.complex(sine, cosine)
    return magnitude(partials), phase(partials) / (2 * jnp.pi), root(near @ power)


_RANGE = 2.0 ** (1 / 24)  # half a semitone: the largest deviation
_SHRINK = 0.02  # how much the mean deviation of the note counts in every frame, relative to a frame of mean power
_SILENT = 1e-12
"""Added to weights, so that the gradient of a quotient is finite: the weight of a partial 120 dB below full scale."""
_STEP, _AROUND = 0.008, 0.064
"""Seconds of the steps over which phases advance, at most, and of those that an estimate is the mean of: less than half
a period of a vibrato."""


@checked
def refine_f0(
    x: Finite[ArrayLike],
    f0: Positive[ArrayLike],
    sample_rate: Positive[float],
    *,
    partials: PositiveInt = 6,
    hop: PositiveInt = 64,
    window: Window = 256,
) -> Array:
    """The fundamental frequency of each frame, within half a semitone of the nominal one.

    ``f0 + sum_k w_k d_k / (sum_k w_k + shrinkage)``, where the phase of partial k advances by
    ``k (f0 + d_k) s / sample_rate`` turns in a step of s samples and ``w_k = a_k[m] a_k[m + 1] k^2``; s is the largest
    divisor of ``hop`` up to 8 ms, and sums are over the 64 ms around a frame. Frames without power have the mean
    deviation of the note; a silent sound is an error.

    Args:
      x: sounds ``(..., length)``, finite.
      f0: nominal frequencies of the sounds ``(...)`` in Hz, > 0 and below half the sample rate.
      sample_rate: sample rate in Hz.
      partials: number of partials that are followed; those that half a semitone could turn by half a turn in a step are
        not, with steps of 8 ms those above 2,133 Hz.
      hop: samples from one frame to the next.
      window: samples of a frame, at least two periods of the lowest pitch, so that partials are told apart.

    >>> x = 0.5 * jnp.sin(2 * jnp.pi * 440 * jnp.arange(2048) / 8000)
    >>> refine_f0(x, 438.0, 8000.0)[8].round(1)
    Array(440., dtype=float32)

    Source: the phase vocoder, Flanagan and Golden 1966, "Phase vocoder".
    """
    check_signal(x=x)
    below = f"below half the sample rate of {sample_rate:g} Hz, or no harmonic can be played"
    check(lambda f: f < 0.5 * sample_rate, below, f0=f0)
    lowest = f"at least {2 * sample_rate / window:g} Hz, of which a window of {window} samples has two periods"
    check(lambda f: f * window >= 2 * sample_rate, lowest, f0=f0)
    check(lambda x: np.any(x, -1), "not silent: a recording of zeros has no pitch", x=x)
    x, f0 = jnp.asarray(x, jnp.float32), jnp.asarray(f0, jnp.float32)
    if f0.shape != x.shape[:-1]:
        raise ValueError(f"f0 must be one frequency for each sound {x.shape[:-1]}, got {f0.shape}")
    step = max(d for d in range(1, hop + 1) if hop % d == 0 and (d == 1 or d <= _STEP * sample_rate))
    frames = 1 + (hop // step) * -(-x.shape[-1] // hop)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, (frames - 1) * step - x.shape[-1])])
    nominal = jnp.broadcast_to(f0[..., None], (*f0.shape, frames))
    found = analyse(x, nominal, sample_rate, partials, bands=2, hop=step, window=window)
    k, seconds = jnp.arange(1, partials + 1), step / sample_rate
    surplus = jnp.diff(found.phases, axis=-2) - k * f0[..., None, None] * seconds
    deviation = (surplus - jnp.round(surplus)) / (k * seconds)
    followed = k * f0[..., None, None] * (_RANGE - 1.0) * seconds < 0.5
    weight = jnp.where(followed, k**2 * found.amplitudes[..., 1:, :] * found.amplitudes[..., :-1, :], 0.0)
    both = jnp.stack([jnp.sum(weight * deviation, -1), jnp.sum(weight, -1)])
    mean = both.mean(-1, keepdims=True)
    overall = mean[0] / (mean[1] + _SILENT)
    half = max(round(_AROUND / 2 / seconds), 1)
    around = jnp.pad(both, [(0, 0)] * x.ndim + [(half, half)])  # frame m is between steps m - 1 and m
    rows = around.reshape(-1, around.shape[-1])
    sums = jax.vmap(lambda row: jnp.convolve(row, jnp.ones(2 * half), "valid", precision="highest"))(rows)
    near = (sums / (2 * half)).reshape(*both.shape[:-1], frames)[..., :: hop // step]
    shrink = _SHRINK * mean[1] + _SILENT
    change = (near[0] + shrink * overall) / (near[1] + shrink)
    return f0[..., None] + jnp.clip(change, f0[..., None] * (1 / _RANGE - 1), f0[..., None] * (_RANGE - 1))
