"""The sound of controls: oscillators, filtered noise, reverberation; their interpolation and their loudness.

Phases of oscillators do not drift: they are accumulated in integers, as fractions of a turn. A float32 sum of a minute
of frequencies is wrong by several turns. Here each sample adds ``f0 / sample_rate`` turns, rounded to ``2^-32``, to an
unsigned integer that wraps at a full turn; the phase of partial k is k times that integer, which wraps as well. The
derivative with respect to the frequencies is the derivative of the exact sum.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from scorekit.arguments import Finite, NonNegative, Positive, PositiveInt, checked
from scorekit.audio._checks import check_signal
from scorekit.audio.fourier import hann, num_frames, overlap_add
from scorekit.checks import check, check_floating
from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike, Key, Number


@checked
def upsample(
    controls: ArrayLike, hop: PositiveInt, length: PositiveInt, method: Literal["linear", "hann"] = "linear"
) -> Array:
    """Controls of frames at every sample, ``sum_m w(n / hop - m) controls[m]``.

    ``w(u) = 1 - |u|`` (linear) or ``cos^2(pi u / 2)`` (overlapping Hann windows, smooth at the frames) for ``|u| < 1``:
    the weights of a sample add up to 1, and frame ``m`` is met at sample ``m hop``.

    Args:
      controls: controls ``(..., frames, C)``, with ``frames = 1 + ceil(length / hop)``.
      hop: samples from one frame to the next.
      length: number of samples of the signal.
      method: kind of interpolation: "linear", for frequencies, or "hann", for amplitudes.

    Returns:
      Controls ``(..., length, C)``.

    >>> upsample(jnp.array([[0.0], [1.0], [0.0]]), 2, 4)[:, 0].tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    check_signal("(..., frames, C)", controls=controls)
    controls = jnp.asarray(controls)
    controls = wide(controls)
    frames = num_frames(length, hop)
    if controls.shape[-2] != frames:
        raise ValueError(
            f"controls must have {frames} frames for a length of {length} and a hop of {hop}, got {controls.shape[-2]}"
        )
    fraction = jnp.arange(hop) / hop
    fraction = fraction if method == "linear" else jnp.sin(0.5 * jnp.pi * fraction) ** 2
    fraction = fraction[:, None].astype(controls.dtype)
    before, after = controls[..., :-1, None, :], controls[..., 1:, None, :]
    samples = (1.0 - fraction) * before + fraction * after
    return samples.reshape(*controls.shape[:-2], -1, controls.shape[-1])[..., :length, :]


def exp_sigmoid(x: ArrayLike) -> Array:
    """Real numbers as amplitudes: ``2 sigmoid(x)^ln(10) + 1e-7``, exponential for small ones and at most 2.

    Args:
      x: real numbers, such as the output of a network.

    Returns:
      Amplitudes of the same shape.

    >>> [f"{a:.3f}" for a in exp_sigmoid(jnp.array([-2.0, 0.0, 10.0]))]
    ['0.015', '0.405', '2.000']
    """
    if jnp.issubdtype(jnp.result_type(x), jnp.complexfloating):
        raise ValueError(f"x must be real, got {jnp.result_type(x)}")
    x = jnp.asarray(x)
    x = wide(x)
    return 2.0 * jnp.exp(math.log(10.0) * jax.nn.log_sigmoid(x)) + 1e-7


@checked
def accumulate_phase(f0: ArrayLike, sample_rate: Positive[float]) -> Array:
    """The phase of an oscillator, in turns: ``phi[n] = sum_(m < n) f0[m] / sample_rate``, modulo 1.

    It is in [-1/2, 1/2). A sample adds an error of at most ``2^-32`` turns, ``2^-33`` from 1/256 of the sample rate up:
    after a minute at 16 kHz at most 2.3e-4 and 1.2e-4 turns.

    Args:
      f0: frequencies ``(..., length)`` in Hz, from 0 to half the sample rate.
      sample_rate: sample rate in Hz.

    >>> accumulate_phase(jnp.full(5, 250.0), 1000.0).tolist()
    [0.0, 0.25, -0.5, -0.25, 0.0]

    Source: the phase accumulator of Tierney, Rader and Gold 1971, "A digital frequency synthesizer".
    """
    steps, smooth = _accumulate(f0, sample_rate)
    return _in_turns(steps) + smooth


@checked
def harmonics(f0: ArrayLike, amplitudes: Finite[ArrayLike], sample_rate: Positive[float]) -> Array:
    """A sum of partials: ``x[n] = sum_k a_k[n] sin(2 pi k phi[n])``, k = 1 to K, ``phi`` of :func:`accumulate_phase`.

    Partials at or above half the sample rate are left out, sample by sample: none is aliased. One that sweeps through
    it is switched off there, which is audible as a click if its amplitude is not small.

    Args:
      f0: frequencies of the first partial ``(..., length)`` in Hz, from 0 to half the sample rate.
      amplitudes: amplitudes ``(..., length, K)``, or anything that broadcasts to it.
      sample_rate: sample rate in Hz.

    >>> (harmonics(jnp.full(4, 250.0), jnp.array([0.5, 3.0]), 1000.0) + 0.0).round(3).tolist()  # one below 500 Hz
    [0.0, 0.5, 0.0, -0.5]
    """
    steps, smooth = _accumulate(f0, sample_rate)
    check_signal("(..., K)", amplitudes=amplitudes)
    amplitudes = jnp.asarray(amplitudes, jnp.float32)
    count = amplitudes.shape[-1]
    try:
        amplitudes = jnp.broadcast_to(amplitudes, (*steps.shape, count))
    except ValueError:
        expected = ", ".join(map(str, (*steps.shape, count)))
        raise ValueError(f"amplitudes must broadcast to ({expected}), got {amplitudes.shape}") from None
    k = jnp.arange(1, count + 1)
    turns = _in_turns(steps[..., None] * k.astype(jnp.uint32)) + k * smooth[..., None]
    audible = k * jnp.asarray(f0, jnp.float32)[..., None] < 0.5 * sample_rate
    return jnp.sum(jnp.where(audible, amplitudes, 0.0) * jnp.sin(2 * jnp.pi * turns), -1)


def _accumulate(f0: ArrayLike, sample_rate: float) -> tuple[Array, Array]:
    """The phase in units of ``2^-32`` turns, and a float array of zeros that has its derivative in turns."""
    check_signal(f0=f0)
    check(lambda f: (f >= 0) & (f <= 0.5 * sample_rate), f"from 0 to sample_rate / 2 = {0.5 * sample_rate:g}", f0=f0)
    f0 = jnp.asarray(f0, jnp.float32)
    rate = jnp.float32(sample_rate)
    turns = f0 / rate
    rest = ((f0 - turns * rate) - _rounding_error(turns, rate)) / rate  # rounded away by the division
    fixed = lambda x: jax.lax.bitcast_convert_type(jnp.round(x * 2.0**32).astype(jnp.int32), jnp.uint32)
    steps = jax.lax.stop_gradient(fixed(turns - jnp.where(turns < 0.5, 0.0, 1.0)) + fixed(rest))
    sums = _exclusive_sum(turns)
    return _exclusive_sum(steps), sums - jax.lax.stop_gradient(sums)


def _exclusive_sum(x: Array) -> Array:
    return jnp.cumsum(x, -1, dtype=x.dtype) - x


def _in_turns(steps: Array) -> Array:
    return jax.lax.bitcast_convert_type(steps, jnp.int32).astype(jnp.float32) * jnp.float32(2.0**-32)


def _rounding_error(a: Array, b: Array) -> Array:
    """``a b`` minus its float32 value, exactly: from products of halves of 12 bits, none of which is rounded."""
    halve = lambda x: jax.lax.bitcast_convert_type(
        jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0xFFFFF000), jnp.float32
    )
    a1, b1 = halve(a), halve(b)
    a2, b2 = a - a1, b - b1
    return ((a1 * b1 - a * b) + a1 * b2 + a2 * b1) + a2 * b2


@checked
def filtered_noise(key: Key, bands: NonNegative[ArrayLike], hop: PositiveInt, length: PositiveInt) -> Array:
    """White noise through a filter for each frame, whose magnitudes are given at equally spaced frequencies.

    The impulse response of frame ``m`` is ``hann irfft(bands[m])``, of zero phase and ``2 (K - 1)`` taps; it filters
    the standard normal noise of the ``hop`` samples around sample ``m hop``, and the results are added. For constant
    bands the power spectrum is the one of the filter, ``|H|^2``.

    Args:
      key: PRNG key.
      bands: magnitudes of the noise ``(..., frames, K)``, K >= 2, >= 0, at equal spacing from 0 to half the sample
        rate, included.
      hop: samples from one frame to the next.
      length: number of samples of the signal.

    Returns:
      float32 noise ``(..., length)``.

    >>> filtered_noise(jax.random.key(0), jnp.ones((5, 9)), 100, 400).shape
    (400,)
    """
    check_signal("(..., frames, K)", bands=bands)
    bands = jnp.asarray(bands, jnp.float32)
    frames, count = bands.shape[-2:]
    if count < 2 or frames != num_frames(length, hop):
        expected = f"(..., {num_frames(length, hop)}, K) with K >= 2"
        raise ValueError(f"bands must be {expected} for a length of {length} and a hop of {hop}, got {bands.shape}")
    noise = jax.random.normal(key, (*bands.shape[:-2], frames, hop))
    response = _impulse_response(bands)
    taps = response.shape[-1]
    size = hop + taps - 1
    pieces = jnp.fft.irfft(jnp.fft.rfft(noise, size) * jnp.fft.rfft(response, size), size)
    start = hop // 2 + taps // 2  # the first frame is centred on sample 0
    return overlap_add(pieces, hop)[..., start : start + length]


def reverberate(x: ArrayLike, response: ArrayLike) -> Array:
    """A sound in a room: ``y[n] = sum_m response[m] x[n - m]``, cut to the length of x.

    Args:
      x: the dry sound ``(..., length)``.
      response: the impulse response ``(..., taps)``, learned or recorded; ``response[0]`` is the direct sound.

    >>> reverberate(jnp.array([1.0, 0.0, 2.0]), jnp.array([1.0, 0.5])).round(3).tolist()
    [1.0, 0.5, 2.0]
    """
    check_signal(x=x)
    check_signal("(..., taps)", response=response)
    check_floating(x=x, response=response)
    x, response = jnp.asarray(x), jnp.asarray(response)
    try:
        jnp.broadcast_shapes(x.shape[:-1], response.shape[:-1])
    except ValueError:
        raise ValueError(f"response must broadcast with x {x.shape}, got {response.shape}") from None
    size = x.shape[-1] + response.shape[-1] - 1
    return jnp.fft.irfft(jnp.fft.rfft(x, size) * jnp.fft.rfft(response, size), size)[..., : x.shape[-1]]


@checked
def loudness(
    f0: NonNegative[ArrayLike],
    amplitudes: Finite[ArrayLike],
    bands: NonNegative[ArrayLike],
    sample_rate: Positive[float],
    *,
    floor: Positive[Number] = 1e-3,
) -> Array:
    """The logarithm of the root mean square of the sound of :func:`.synthesise`, frame by frame.

    ``log(sum_k a_k^2 / 2 + sum_n h[n]^2 + floor^2) / 2``: of partials that are resolved, and of noise of unit variance
    through the filter h of the bands, as in :func:`.filtered_noise`. It does not depend on phases. It is in
    nepers: 1 is 8.7 dB.

    Args:
      f0: frequencies of the first partial ``(..., frames)`` in Hz, from 0 to half the sample rate.
      amplitudes: amplitudes of the partials ``(..., frames, K)``; those at or above half the sample rate are not
        played.
      bands: magnitudes of the noise ``(..., frames, K)``, K >= 2, >= 0, at equal spacing from 0 to half the sample
        rate, included.
      sample_rate: sample rate in Hz.
      floor: root mean square of silence; a full-scale sine has 0.707.

    >>> sine = jnp.full(5, 100.0), jnp.ones((5, 1)), jnp.zeros((5, 9))
    >>> round(float(jnp.exp(loudness(*sine, 1000.0)[0])), 3)
    0.707

    Source: Engel et al. 2020 (https://arxiv.org/abs/2001.04643), loudness as a control, there A-weighted.
    """
    check_signal("(..., frames)", f0=f0)
    check_signal("(..., frames, K)", amplitudes=amplitudes)
    check_signal("(..., frames, bands)", bands=bands)
    f0, amplitudes, bands = (jnp.asarray(a, jnp.float32) for a in (f0, amplitudes, bands))
    for name, found in (("amplitudes", amplitudes), ("bands", bands)):
        if found.shape[:-1] != f0.shape:
            raise ValueError(f"{name} must have the frames {f0.shape} of f0, got {found.shape}")
    if bands.shape[-1] < 2:
        raise ValueError(f"bands must be at least 2, got {bands.shape[-1]}")
    audible = jnp.arange(1, amplitudes.shape[-1] + 1) * f0[..., None] < 0.5 * sample_rate
    tones = 0.5 * jnp.sum(jnp.where(audible, amplitudes, 0.0) ** 2, -1)
    noise = jnp.sum(_impulse_response(bands) ** 2, -1)
    return 0.5 * jnp.log(tones + noise + floor**2)


def _impulse_response(bands: Array) -> Array:
    """The responses ``(..., 2 (K - 1))`` of filters with magnitudes ``(..., K)``; the middle tap is at time 0."""
    taps = 2 * (bands.shape[-1] - 1)
    return jnp.roll(jnp.fft.irfft(bands, taps), taps // 2, -1) * jnp.asarray(hann(taps), jnp.float32)
