"""A signal from magnitudes alone: Griffin and Lim's projections, plain and accelerated.

Two projections take turns: onto the spectra that have the given magnitudes (keep the phase, replace the rest), and
onto the spectra of signals (``stft(istft(X))``, the nearest one). Plain alternation never makes the misfit worse. The
accelerated form goes ``momentum`` of the last step further each time; it ends lower but may rise on the way.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.audio.stft import from_polar, istft, magnitude, phase, random_phase, stft
from scorekit.trees import check
from scorekit.typing import Array, ArrayLike, Key, Number


class GriffinLim(NamedTuple):
    """What :func:`griffin_lim` returns.

    Attributes:
      x: the signal ``(..., length)``.
      convergence: ``| |stft(x_n)| - magnitude | / |magnitude|`` of the start and of each iteration, ``(iterations +
        1, ...)``: the Frobenius norm over both halves of the spectrum, which is what the iteration descends.
    """

    x: Array
    convergence: Array


def griffin_lim(
    key: Key,
    magnitudes: ArrayLike,
    window: ArrayLike,
    hop: int,
    length: int,
    *,
    iterations: int = 60,
    momentum: Number = 0.99,
) -> GriffinLim:
    """A signal whose spectrogram has nearly these magnitudes, from phases drawn at random.

    ``c_n = stft(istft(magnitude * t_{n-1} / |t_{n-1}|))``, ``t_n = c_n + momentum (c_n - c_{n-1})``

    Args:
      key: PRNG key of the first phases.
      magnitudes: magnitudes ``(..., frames, N // 2 + 1)`` with ``frames = num_frames(length, hop)``.
      window: ``(N,)``, concrete.
      hop: samples from one frame to the next.
      length: of the signal, in samples.
      iterations: the number of steps, >= 0.
      momentum: 0 is Griffin and Lim's own iteration, which never makes the misfit worse; 0.99 the fast one.

    Returns:
      The signal and the misfit along the way.

    Raises:
      ValueError: if the shapes do not fit, ``iterations < 0`` or ``momentum`` is not in [0, 2).

    Source: Griffin and Lim 1984; Perraudin, Balazs and Sondergaard 2013, "A fast Griffin-Lim algorithm".

    >>> from scorekit.audio.stft import hann
    >>> x = jnp.sin(0.3 * jnp.arange(1000.0))
    >>> found = griffin_lim(jax.random.key(0), magnitude(stft(x, hann(256), 64)), hann(256), 64, 1000)
    >>> found.x.shape, bool(found.convergence[-1] < 0.1 * found.convergence[0])
    ((1000,), True)
    """
    if iterations < 0:
        raise ValueError(f"iterations must be an integer >= 0, got {iterations}")
    check(lambda m: (m >= 0) & (m < 2), "in [0, 2)", momentum=momentum)
    magnitudes = jnp.asarray(magnitudes)
    if not jnp.issubdtype(magnitudes.dtype, jnp.floating):
        raise ValueError(f"magnitudes must be of a floating type, got {magnitudes.dtype}")
    magnitudes = magnitudes.astype(jnp.promote_types(magnitudes.dtype, jnp.float32))
    norm = lambda spectrum: jnp.sqrt(jnp.sum(_both_halves(spectrum**2, jnp.size(window)), axis=(-2, -1)))
    total = norm(magnitudes)

    def project(angle: Array) -> tuple[Array, Array, Array]:
        """The signal of these phases, its spectrum, and the misfit of that."""
        x = istft(from_polar(magnitudes, angle), window, hop, length)
        spectrum = stft(x, window, hop)
        misfit = norm(magnitude(spectrum) - magnitudes)
        return x, spectrum, jnp.where(total > 0, misfit / jnp.where(total > 0, total, 1.0), 0.0)

    def step(carry: tuple[Array, Array, Array], _):
        previous, ahead, _ = carry
        x, spectrum, convergence = project(phase(ahead))
        return (spectrum, spectrum + momentum * (spectrum - previous), x), convergence

    x, spectrum, first = project(random_phase(key, magnitudes))
    (_, _, x), rest = jax.lax.scan(step, (spectrum, spectrum, x), length=iterations)
    return GriffinLim(x=x, convergence=jnp.concatenate([first[None], rest]))


def _both_halves(squares: Array, size: int) -> Array:
    """Squares of half a spectrum, counted as often as they occur in the whole one."""
    bins = jnp.arange(squares.shape[-1])
    return squares * jnp.where((bins == 0) | (2 * bins == size), 1.0, 2.0)
