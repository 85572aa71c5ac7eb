"""Harmonic oscillators whose phase does not drift: it is accumulated in integers, as fractions of a turn.

A float32 sum of a minute of frequencies is wrong by several turns. Here each sample adds ``f0 / sample_rate`` turns,
rounded to ``2^-32``, to an unsigned integer that wraps at a full turn; the phase of partial k is k times that integer,
which wraps as well. The derivative with respect to the frequencies is the derivative of the exact sum.

Args:
  f0: frequencies of the first partial ``(..., length)`` in Hz, from 0 to half the sample rate.
  sample_rate: sample rate in Hz.
"""

import jax
import jax.numpy as jnp

from scorekit.arguments import checked
from scorekit.audio._checks import Rate, check_signal
from scorekit.checks import check
from scorekit.typing import Array, ArrayLike

__all__ = ["accumulate_phase", "harmonics"]


@checked
def accumulate_phase(f0: ArrayLike, sample_rate: Rate) -> Array:
    """The phase of an oscillator, in turns: ``phi[n] = sum_(m < n) f0[m] / sample_rate``, modulo 1.

    Returns:
      float32 ``(..., length)`` in [-1/2, 1/2). A sample adds an error of at most ``2^-32`` turns, ``2^-33`` from 1/256
      of the sample rate up: after a minute at 16 kHz at most 2.3e-4 and 1.2e-4 turns.

    >>> accumulate_phase(jnp.full(5, 250.0), 1000.0).tolist()
    [0.0, 0.25, -0.5, -0.25, 0.0]

    Source: the phase accumulator of Tierney, Rader and Gold 1971, "A digital frequency synthesizer".
    """
    steps, smooth = _accumulate(f0, sample_rate)
    return _in_turns(steps) + smooth


@checked
def harmonics(f0: ArrayLike, amplitudes: ArrayLike, sample_rate: Rate) -> Array:
    """A sum of partials: ``x[n] = sum_k a_k[n] sin(2 pi k phi[n])``, k = 1 to K, ``phi`` of :func:`accumulate_phase`.

    Partials at or above half the sample rate are left out, sample by sample: none is aliased. One that sweeps through
    it is switched off there, which is audible as a click if its amplitude is not small.

    Args:
      amplitudes: amplitudes ``(..., length, K)``, or anything that broadcasts to it.

    Returns:
      float32 ``(..., length)``.

    >>> (harmonics(jnp.full(4, 250.0), jnp.array([0.5, 3.0]), 1000.0) + 0.0).round(3).tolist()  # one below 500 Hz
    [0.0, 0.5, 0.0, -0.5]
    """
    steps, smooth = _accumulate(f0, sample_rate)
    check_signal("(..., K)", amplitudes=amplitudes)
    check(jnp.isfinite, "finite", amplitudes=amplitudes)
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
