"""The controls of a recording whose pitch is known: amplitudes of its partials, and what remains, by bands.

In a frame around sample ``m hop`` the partials are the sinusoids at ``k f0[m]`` nearest to the signal, by least
squares with the window as weights, so that partials which it does not separate are not counted twice.

>>> x = 0.5 * jnp.sin(2 * jnp.pi * 440 * jnp.arange(2048) / 8000)
>>> found = Controls(*analyse(x, jnp.full(33, 440.0), 8000.0, 2))
>>> found.amplitudes[16].round(3).tolist()
[0.5, 0.0]
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, PositiveInt, checked
from scorekit.audio._checks import Rate, check_signal
from scorekit.audio.stft import frame, hann, magnitude, num_frames, phase
from scorekit.checks import check
from scorekit.typing import Array, ArrayLike

__all__ = ["Controls", "analyse"]

_RIDGE = 1e-5
"""Added to the normal equations, relative to a partial that is alone."""


class Controls(NamedTuple):
    """Arguments of :func:`.harmonics` and :func:`.filtered_noise`, frame by frame.

    Attributes:
      amplitudes: amplitudes of the partials, ``(..., frames, K)``.
      phases: phases of the partials at the centres of the frames, in turns of a sine, ``(..., frames, K)``.
      bands: magnitudes of the noise, ``(..., frames, bands)``.
    """

    amplitudes: Array
    phases: Array
    bands: Array


@checked
def analyse(
    x: ArrayLike,
    f0: ArrayLike,
    sample_rate: Rate,
    count: PositiveInt,
    *,
    bands: Annotated[int, Count(2)] = 33,
    hop: PositiveInt = 64,
    window: Annotated[int, Count(4)] = 1024,
) -> Controls:
    """The controls of a sound of known pitch, by least squares in each frame.

    ``min sum_n w[n] (x[n] - sum_k a_k sin(2 pi (k f0 n / sample_rate + phi_k)))^2`` over the partials below half the
    sample rate, with a Hann window w; a band is the root of the mean power of the residual near its frequency, so that
    white noise of unit variance has bands of 1.

    Args:
      x: sounds ``(..., length)``, finite.
      f0: frequencies of the sounds at the frames, ``(..., frames)`` in Hz, > 0; ``frames = 1 + ceil(length / hop)``.
      sample_rate: sample rate in Hz.
      count: number of partials.
      bands: number of noise bands, at most ``window / 4 + 1``, equally spaced from 0 to half the sample rate, both
        included.
      hop: samples from one frame to the next.
      window: samples of a frame, at least two periods of the lowest pitch for partials to be told apart.

    Returns:
      The :class:`Controls`, float32; partials at or above half the sample rate have amplitude 0.

    Source: least squares of sinusoids, Stylianou 2001, "Applying the harmonic plus noise model in concatenative speech
    synthesis".
    """
    check_signal(x=x)
    check_signal("(..., frames)", f0=f0)
    check(jnp.isfinite, "finite", x=x)
    check(lambda f: jnp.isfinite(f) & (f > 0), "finite and > 0", f0=f0)
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
    return magnitude(partials), phase(partials) / (2 * jnp.pi), _root(near @ power)


def _root(x):
    """The square root, with gradient 0 at 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)
