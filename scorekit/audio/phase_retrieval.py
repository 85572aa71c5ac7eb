"""Phase retrieval from magnitudes by Griffin and Lim's algorithm, plain and accelerated.

The algorithm alternates two projections: onto spectra with the given magnitudes (keeping the phase), and onto
consistent spectra (``stft(istft(X))``). Plain alternation never increases the misfit. The accelerated algorithm
extrapolates each step by ``momentum``; it reaches a lower misfit, but not monotonically.
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import Between, NonNegativeInt, PositiveInt, checked
from scorekit.audio.fourier import from_polar, istft, magnitude, phase, stft
from scorekit.checks import check_at_least, check_floating
from scorekit.numerics import wide
from scorekit.typing import Array, ArrayLike, Key


class GriffinLim(NamedTuple):
    """The result of :func:`griffin_lim`.

    Attributes:
      x: the signal ``(..., length)``.
      convergence: ``| |stft(x_n)| - magnitude | / |magnitude|`` of the start and of each iteration, ``(iterations +
        1, ...)``: the Frobenius norm over the two-sided spectrum, which the algorithm minimises.

    >>> GriffinLim(x=jnp.zeros(1000), convergence=jnp.ones(61)).x.shape
    (1000,)
    """

    x: Array
    convergence: Array


@checked
def griffin_lim(
    key: Key,
    magnitudes: ArrayLike,
    window: ArrayLike,
    hop: PositiveInt,
    length: int,
    *,
    iterations: NonNegativeInt = 60,
    momentum: Annotated[float, Between(0, 2, "high")] = 0.99,
) -> GriffinLim:
    """A signal whose spectrogram approximates given magnitudes, from random initial phases.

    ``c_n = stft(istft(magnitude * t_{n-1} / |t_{n-1}|))``, ``t_n = c_n + momentum (c_n - c_{n-1})``

    Args:
      key: PRNG key.
      magnitudes: magnitudes ``(..., frames, N // 2 + 1)``, finite and >= 0, with ``frames = num_frames(length, hop)``;
        a traced magnitude that is not finite gives NaN.
      window: window ``(N,)``, concrete.
      hop: samples from one frame to the next.
      length: number of samples of the signal.
      iterations: number of steps.
      momentum: extrapolation of each step: 0 is the original algorithm, whose misfit never increases; 0.99 the
        accelerated one.

    >>> import numpy as np
    >>> from scorekit.audio.fourier import hann
    >>> x = np.sin(0.3 * np.arange(1000.0))
    >>> result = griffin_lim(jax.random.key(0), magnitude(stft(x, hann(256), 64)), hann(256), 64, 1000)
    >>> result.x.shape, bool(result.convergence[-1] < 0.1 * result.convergence[0])
    ((1000,), True)

    Source: Griffin and Lim 1984; Perraudin, Balazs and Sondergaard 2013, "A fast Griffin-Lim algorithm".
    """
    magnitudes = jnp.asarray(magnitudes)
    if not jnp.issubdtype(magnitudes.dtype, jnp.floating):
        raise ValueError(f"magnitudes must be of a floating type, got {magnitudes.dtype}")
    check_floating(magnitudes=magnitudes)
    check_at_least(0, magnitudes=magnitudes)
    magnitudes = wide(magnitudes)
    norm = lambda spectrum: jnp.sqrt(jnp.sum(_both_halves(spectrum**2, jnp.size(window)), axis=(-2, -1)))
    total = norm(magnitudes)

    def project(angle: Array) -> tuple[Array, Array, Array]:
        """The signal of these phases, its spectrum, and the misfit of that."""
        x = istft(from_polar(magnitudes, angle), window, hop, length)
        spectrum = stft(x, window, hop)
        misfit = norm(magnitude(spectrum) - magnitudes)
        return x, spectrum, jnp.where(total <= 0, 0.0, misfit / jnp.where(total <= 0, 1.0, total))

    def step(carry: tuple[Array, Array, Array], _):
        previous, ahead, _ = carry
        x, spectrum, convergence = project(phase(ahead))
        return (spectrum, spectrum + momentum * (spectrum - previous), x), convergence

    phases = jax.random.uniform(key, magnitudes.shape, magnitudes.dtype, -jnp.pi, jnp.pi)
    x, spectrum, first = project(phases)
    (_, _, x), rest = jax.lax.scan(step, (spectrum, spectrum, x), length=iterations)
    return GriffinLim(x=x, convergence=jnp.concatenate([first[None], rest]))


def _both_halves(squares: Array, size: int) -> Array:
    """Squares of a one-sided spectrum, weighted by their multiplicity in the two-sided one."""
    bins = jnp.arange(squares.shape[-1])
    return squares * jnp.where((bins == 0) | (2 * bins == size), 1.0, 2.0)
