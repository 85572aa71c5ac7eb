"""Samples between integers (linear PCM, 8-bit mu-law) and floats in [-1, 1], and their peak; leading axes are free.

Linear PCM of ``b`` bits represents ``-1 .. 1 - 2^(1-b)`` by the integers ``-2^(b-1) .. 2^(b-1) - 1``: full scale is
[-1, 1).

Source: ITU-T G.711; van den Oord et al. 2016, "WaveNet" (arXiv:1609.03499).
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from scorekit._quantisation import from_unit, to_unit
from scorekit.arguments import Count, Positive, checked
from scorekit.audio._checks import check_signal
from scorekit.checks import check, check_classes, check_not_nan
from scorekit.numerics import wide
from scorekit.numerics.codes import as_array
from scorekit.typing import Array, ArrayLike, Key, Number

_MU = 255.0  # the constant of the North American and Japanese companding law, for 256 codes


@checked
def pcm_to_float(codes: ArrayLike, bits: Annotated[int, Count(2, 24)] = 16) -> Array:
    """Linear PCM to floats: ``codes / 2^(bits - 1)``, exact in float32 up to 24 bits.

    Args:
      codes: integers from ``-2^(bits-1)`` to ``2^(bits-1) - 1``, any shape; traced codes out of range give NaN.
      bits: number of bits of a code.

    Returns:
      Samples in [-1, 1).

    >>> pcm_to_float(jnp.array([-32768, 0, 16384])).tolist()
    [-1.0, 0.0, 0.5]
    """
    codes = as_array(codes)
    if not jnp.issubdtype(codes.dtype, jnp.integer):
        raise ValueError(f"codes must be of an integer type, got {codes.dtype}")
    full_scale = 2.0 ** (bits - 1)
    limits = jnp.iinfo(codes.dtype)
    if -full_scale <= limits.min and limits.max < full_scale:
        return codes.astype(jnp.float32) / full_scale
    within = lambda c: (c >= -full_scale) & (c < full_scale)
    check(within, f"integers of {bits} bits", codes=codes)
    return jnp.where(within(codes), codes.astype(jnp.float32) / full_scale, jnp.nan)


@checked
def float_to_pcm(x: ArrayLike, bits: Annotated[int, Count(2, 24)] = 16, *, dither: Key | None = None) -> Array:
    """Floats to linear PCM, rounded or with triangular (TPDF) dither, and clipped.

    ``codes = round(2^(bits-1) x + u_1 - u_2)`` with ``u`` uniform on [0, 1) steps. With the dither the error of an
    unclipped sample has mean 0 and variance 1/4 step^2 for any signal: noise instead of distortion. Without dither the
    error is smaller, with variance of about 1/12 step^2, but depends on the signal.

    Args:
      x: floats, any shape, clipped to [-1, 1); a traced NaN becomes the code of 0.
      bits: number of bits of a code.
      dither: PRNG key of the dither, or ``None`` for rounding (the inverse of :func:`pcm_to_float`).

    Returns:
      Codes, int32.

    >>> float_to_pcm(jnp.array([-2.0, 0.5, 1.0]))
    Array([-32768,  16384,  32767], dtype=int32)

    Source: Lipshitz, Wannamaker and Vanderkooy 1992, "Quantization and dither: a theoretical survey", JAES 40(5).
    """
    full_scale = 2.0 ** (bits - 1)
    check_not_nan(x=x)
    scaled = jnp.nan_to_num(jnp.asarray(x, jnp.float32), posinf=jnp.inf, neginf=-jnp.inf) * full_scale
    scaled = jnp.clip(scaled, -full_scale - 2.0, full_scale + 2.0)  # avoids int32 overflow
    integer = jnp.floor(scaled)
    fraction = scaled - integer  # exact, so that small dither is not lost in rounding
    if dither is None:
        codes = jnp.round(scaled)
    else:
        u = jax.random.uniform(dither, (2, *scaled.shape))
        codes = integer + jnp.floor(fraction + (u[0] - u[1]) + 0.5)
    return jnp.clip(codes, -full_scale, full_scale - 1.0).astype(jnp.int32)


@checked
def mu_law_compress(x: ArrayLike, mu: Positive[float] = _MU) -> Array:
    """The mu-law curve: ``sign(x) log(1 + mu |x|) / log(1 + mu)``, in [-1, 1], float32 or wider.

    Differentiable, with slope ``mu / log(1 + mu)`` at 0.

    Args:
      x: floats in [-1, 1], any shape.
      mu: constant of the companding law; larger values give quiet samples a finer resolution.

    >>> [round(float(y), 3) for y in mu_law_compress(jnp.array([-0.5, 0.0, 0.01]))]
    [-0.876, 0.0, 0.228]
    """
    sign, magnitude = _sign_and_magnitude(x)
    return sign * jnp.log1p(mu * magnitude) / jnp.log1p(mu)


@checked
def mu_law_expand(y: ArrayLike, mu: Positive[float] = _MU) -> Array:
    """The inverse of :func:`mu_law_compress`: ``sign(y) ((1 + mu)^|y| - 1) / mu``, in [-1, 1], float32 or wider.

    Args:
      y: compressed values in [-1, 1], any shape.
      mu: constant of the companding law; larger values give quiet samples a finer resolution.

    >>> [round(float(x), 3) for x in mu_law_expand(mu_law_compress(jnp.array([-0.5, 0.0, 0.01])))]
    [-0.5, 0.0, 0.01]
    """
    sign, magnitude = _sign_and_magnitude(y)
    return sign * jnp.expm1(magnitude * jnp.log1p(mu)) / mu


@checked
def mu_law_encode(x: ArrayLike, num_codes: Annotated[int, Count(2)] = 256) -> Array:
    """Samples to mu-law codes: the compressed value, rounded to ``num_codes`` equidistant values in [-1, 1].

    ``round((y + 1) (num_codes - 1) / 2)`` with ``y`` of :func:`mu_law_compress`. Zero lies between two
    codes, 127 and 128 of 256, and gets the upper one, which represents +8.6e-5.

    Args:
      x: floats, any shape, clipped to [-1, 1]; a traced NaN becomes the code of 0.
      num_codes: number of codes; ``mu = num_codes - 1``.

    Returns:
      Codes from 0 to ``num_codes - 1``, int32.

    >>> mu_law_encode(jnp.array([-1.0, 0.0, 0.01, 1.0]))
    Array([  0, 128, 157, 255], dtype=int32)
    """
    check_not_nan(x=x)
    return from_unit(mu_law_compress(jnp.clip(jnp.asarray(x), -1.0, 1.0), num_codes - 1.0), num_codes)


@checked
def mu_law_decode(codes: ArrayLike, num_codes: Annotated[int, Count(2)] = 256) -> Array:
    """Mu-law codes to samples; :func:`mu_law_encode` is the exact inverse.

    :func:`mu_law_expand` of ``2 codes / (num_codes - 1) - 1``.

    Args:
      codes: integers from 0 to ``num_codes - 1``, any shape; traced codes out of range give NaN.
      num_codes: number of codes; ``mu = num_codes - 1``.

    Returns:
      Samples in [-1, 1].

    >>> mu_law_decode(jnp.array([0, 255])).tolist()
    [-1.0, 1.0]
    """
    check_classes(num_codes, codes=codes)
    return mu_law_expand(to_unit(codes, num_codes), num_codes - 1.0)


def _sign_and_magnitude(x: ArrayLike) -> tuple[Array, Array]:
    """``(sign, |x|)`` in at least float32, such that gradients of odd functions of x are correct at 0."""
    x = jnp.asarray(x)
    x = wide(x)
    sign = jnp.where(x < 0, -1.0, 1.0).astype(x.dtype)
    return sign, sign * x


@checked
def normalise_peak(sound: ArrayLike, peak: Positive[Number]) -> Array:
    """Scales each sound so that its largest absolute sample is ``peak``: ``x peak / max |x|``; silence stays silent.

    Args:
      sound: sounds ``(..., L)``, full scale [-1, 1].
      peak: peak of the result. Sounds whose peak is below 2^-15 are scaled as if it were 2^-15.

    Returns:
      Sounds of the same shape.

    >>> normalise_peak(jnp.array([[0.0, 0.5, -0.25], [0.0, 0.0, 0.0]]), 0.75).tolist()
    [[0.0, 0.75, -0.375], [0.0, 0.0, 0.0]]
    """
    check_signal("(..., L)", sound=sound)
    return jnp.asarray(sound) * (peak / jnp.maximum(jnp.max(jnp.abs(sound), axis=-1, keepdims=True), 2.0**-15))
