"""The pitch of a note from frame to frame, from the pitch that it is known to have.

The phases of partials that are found by least squares at a nominal frequency advance by more or less than that
frequency says: what remains is the deviation, of every partial in units of its own number.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.audio._checks import Rate, Window, check_signal
from scorekit.audio.ddsp.analysis import analyse
from scorekit.checks import check, check_positive
from scorekit.typing import Array, ArrayLike

__all__ = ["refine_f0"]

_RANGE = 2.0 ** (1 / 24)
"""Half a semitone: the largest deviation."""
_SHRINK = 0.02
"""How much the mean deviation of the note counts in every frame, relative to a frame of mean power."""
_SILENT = 1e-12
"""Added to weights, so that the gradient of a quotient is finite: the weight of a partial 120 dB below full scale."""
_STEP, _AROUND = 0.008, 0.064
"""Seconds of the steps over which phases advance, at most, and of those that an estimate is the mean of: less than half
a period of a vibrato."""


@checked
def refine_f0(
    x: ArrayLike,
    f0: ArrayLike,
    sample_rate: Rate,
    *,
    partials: PositiveInt = 6,
    hop: PositiveInt = 64,
    window: Window = 256,
) -> Array:
    """The fundamental frequency of each frame, within half a semitone of the nominal one.

    ``f0 + sum_k w_k d_k / (sum_k w_k + shrinkage)``, where the phase of partial k advances by
    ``k (f0 + d_k) s / sample_rate`` turns in a step of s samples and ``w_k = a_k[m] a_k[m + 1] k^2``; s is the largest
    divisor of ``hop`` up to 8 ms, and sums are over the 64 ms around a frame. Frames without power have the mean
    deviation of the note, and silent notes none.

    Args:
      x: sounds ``(..., length)``, finite and none of them silent.
      f0: nominal frequencies of the sounds ``(...)`` in Hz, > 0 and below half the sample rate.
      sample_rate: sample rate in Hz.
      partials: number of partials that are followed; those that half a semitone could turn by half a turn in a step are
        not, with steps of 8 ms those above 2,133 Hz.
      hop: samples from one frame to the next.
      window: samples of a frame, at least two periods of the lowest pitch, so that partials are told apart.

    Returns:
      float32 ``(..., frames)`` in Hz, ``frames = 1 + ceil(length / hop)``.

    >>> import jax
    >>> x = jnp.sin(2 * jnp.pi * 443 / 4000 * jnp.arange(1024))
    >>> jax.jit(lambda x: refine_f0(x, 440.0, 4000.0))(x)[8].round(1)
    Array(443., dtype=float32)

    Source: the phase vocoder, Flanagan and Golden 1966, "Phase vocoder".
    """
    check_signal(x=x)
    check_positive(f0=f0)
    below = f"below half the sample rate of {sample_rate:g} Hz, or no harmonic can be played"
    check(lambda f: f < 0.5 * sample_rate, below, f0=f0)
    lowest = f"at least {2 * sample_rate / window:g} Hz, of which a window of {window} samples has two periods"
    check(lambda f: f * window >= 2 * sample_rate, lowest, f0=f0)
    check(np.isfinite, "finite", x=x)
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
