"""Vector quantisation with a learned codebook, and the losses that train it.

With ``e`` the code nearest to ``x`` of K codes, and ``sg`` the stop-gradient, training minimises the loss of the
decoder that reads ``e`` plus

    |sg(x) - e|^2           moves the codes to the vectors assigned to them,
    b |x - sg(e)|^2         commits the vectors to their codes,

and passes the gradient of the loss with respect to ``e`` to ``x`` as if quantisation were the identity (the
straight-through estimator). Residual quantisation adds a code of each of M codebooks: every codebook quantises the
residual of the sum so far.

>>> x, codes = jnp.array([[0.8, 0.0], [0.1, 0.0]]), jnp.array([[0.0, 0.0], [1.0, 0.0]])
>>> nearest_code(x, codes).tolist(), code_counts(jnp.array([[0, 2], [2, 2]]), 3).tolist()
([1, 0], [1, 0, 3])
>>> found = quantise(x[:1], codes)
>>> isinstance(found, Quantised), found.values.tolist(), found.index.tolist(), round(float(found.commitment[0]), 3)
(True, [[1.0, 0.0]], [1], 0.02)
>>> round(float(revival_loss(jnp.array([[0.1], [0.3]]), codes[:, :1], jnp.array([0, 0]))), 4)  # (1 - 0.3)^2 / 2
0.245
>>> round(float(perplexity(jnp.array([5, 5, 0, 0]))), 4)
2.0
>>> books = jnp.array([[[0.0], [1.0]], [[0.0], [0.25]]])
>>> found = residual_quantise(jnp.array([[1.3]]), books)
>>> found.index.tolist(), found.values.tolist(), sum_of_codes(found.index, books).tolist()
([[1], [1]], [[[1.0]], [[1.25]]], [[1.25]])

Source: van den Oord, Vinyals and Kavukcuoglu 2017, "Neural discrete representation learning"
(https://arxiv.org/abs/1711.00937); Zeghidour et al. 2021, "SoundStream: an end-to-end neural audio codec"
(https://arxiv.org/abs/2107.03312).
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegative, PositiveInt, checked
from scorekit.checks import check, check_classes, check_floating
from scorekit.numerics.codes import as_array, in_range
from scorekit.typing import Array, ArrayLike


class Quantised(NamedTuple):
    """Quantised vectors and the losses that train codebook and vectors.

    Attributes:
      values: the nearest codes ``(..., D)``; the gradient passes straight through to the vectors.
      index: their indices in the codebook, int32 ``(...)``.
      codebook: ``mean_D (sg(x) - e)^2``, ``(...)``; its gradient is with respect to the codes.
      commitment: ``mean_D (x - sg(e))^2``, ``(...)``: equal values; its gradient is with respect to the vectors.
    """

    values: Array
    index: Array
    codebook: Array
    commitment: Array


def nearest_code(x: ArrayLike, codes: ArrayLike) -> Array:
    """The index of the nearest code, ``argmin_k |x - e_k|^2``; the first one in ties.

    It is K, which is no code, if the vector or a code is not finite.

    Args:
      x: vectors ``(..., D)``, floating.
      codes: codes ``(K, D)``, floating, K >= 1.
    """
    x, codes = _check(x, codes)
    centre = jnp.mean(codes, axis=0)  # avoids cancellation where all codes lie far from the origin
    x, codes = x - centre, codes - centre
    products = jnp.matmul(x, codes.T, precision=jax.lax.Precision.HIGHEST)
    nearest = jnp.argmin(jnp.sum(codes**2, axis=-1) - 2.0 * products, axis=-1)
    return jnp.where(jnp.all(jnp.isfinite(x), axis=-1), nearest, codes.shape[0]).astype(jnp.int32)


def quantise(x: ArrayLike, codes: ArrayLike) -> Quantised:
    """Replaces vectors by their nearest codes, and computes the losses that train both.

    ``values = e_k`` with ``k = argmin_j |x - e_j|``.

    Args:
      x: vectors ``(..., D)``, floating.
      codes: codes ``(K, D)``, floating, K >= 1.
    """
    x, codes = _check(x, codes)
    index = nearest_code(jax.lax.stop_gradient(x), jax.lax.stop_gradient(codes))
    chosen = _lookup(index, codes)
    fixed = jax.lax.stop_gradient
    return Quantised(
        values=x + fixed(chosen - x),
        index=index,
        codebook=jnp.mean((fixed(x) - chosen) ** 2, axis=-1),
        commitment=jnp.mean((x - fixed(chosen)) ** 2, axis=-1),
    )


def residual_quantise(x: ArrayLike, codes: ArrayLike) -> Quantised:
    """Quantises vectors by the first codebook and the residual by the next one; a leading axis M is the levels.

    ``r_1 = x``, ``e_m`` the code of codebook m that is nearest to ``r_m``, and ``r_{m+1} = r_m - sg(e_m)``. Then
    ``values[m]`` is ``e_1 + … + e_m``, whose gradient passes straight through to ``x``, and the two losses of level m
    compare ``r_m`` with ``e_m``. The choice is greedy: another sum of M codes may be nearer to ``x``.

    Args:
      x: vectors ``(..., D)``, floating.
      codes: codes ``(M, K, D)`` of M levels, floating, M and K >= 1.
    """
    if jnp.ndim(codes) != 3:
        raise ValueError(f"codes must be (M, K, D), got {jnp.shape(codes)}")
    check_floating(x=x, codes=codes)
    x, codes = jnp.asarray(x), jnp.asarray(codes)
    rest, total, levels = x, jnp.zeros_like(x), []
    for book in codes:
        found = quantise(rest, book)
        chosen = jax.lax.stop_gradient(_lookup(found.index, book))
        total, rest = total + chosen, rest - chosen
        levels.append(found._replace(values=x + jax.lax.stop_gradient(total - x)))
    return Quantised(*map(jnp.stack, zip(*levels, strict=True)))


def sum_of_codes(index: ArrayLike, codes: ArrayLike) -> Array:
    """The vectors that residual codes stand for: ``e_1 + … + e_m`` of the first ``m <= M`` levels, ``(..., D)``.

    NaN for a traced index out of range.

    Args:
      index: indices ``(m, ...)`` of the first m levels, m >= 1.
      codes: codes ``(M, K, D)``.
    """
    check_floating(codes=codes)
    index, codes = as_array(index, "index"), jnp.asarray(codes)
    if codes.ndim != 3 or index.ndim < 1 or not 1 <= len(index) <= len(codes):
        raise ValueError(
            f"index must be (m, ...) with 1 <= m <= M of codes (M, K, D), got {index.shape} and {codes.shape}"
        )
    check_classes(codes.shape[1], index=index)
    return functools.reduce(operator.add, map(_lookup, index, codes))


def _lookup(index: Array, codes: Array) -> Array:
    """The codes of indices; NaN for the index K, which is no code, and for any other one out of range."""
    return jnp.take(codes, in_range(index, codes.shape[0]), axis=0, mode="fill")


def revival_loss(x: ArrayLike, codes: ArrayLike, index: Array) -> Array:
    """Moves unused codes towards vectors of the batch: ``mean_k [unused] mean_D (sg(x_k) - e_k)^2``.

    A code that is never the nearest one gets no gradient from the codebook loss and stays dead. This loss pairs every
    code that is not in ``index`` with a vector ``x_k``, at position ``floor(k N / K)`` of the N >= 1 vectors of the
    batch; with shuffled batches that is a random vector at every step, until the code is used. The gradient of this
    scalar is zero in codes that are used, and in ``x``.

    Args:
      x: vectors ``(..., D)``, floating.
      codes: codes ``(K, D)``, floating, K >= 1.
      index: indices of codes, integers of any shape.
    """
    x, codes = _check(x, codes)
    size = codes.shape[0]
    vectors = jax.lax.stop_gradient(x).reshape(-1, codes.shape[1])
    check_classes(size, index=index)
    if vectors.shape[0] == 0:
        raise ValueError("x must hold at least one vector, got none")
    unused = jnp.ones(size, bool).at[in_range(index, size).ravel()].set(False, mode="drop")
    partners = vectors[(jnp.arange(size) * vectors.shape[0]) // size]
    return jnp.mean(jnp.where(unused, jnp.mean((partners - codes) ** 2, axis=-1), 0.0))


@checked
def code_counts(index: Array, num_codes: PositiveInt) -> Array:
    """Counts how often each code is used, ``(K,)``; a traced index out of range does not count.

    Args:
      index: indices of codes, integers of any shape.
      num_codes: K.
    """
    check_classes(num_codes, index=index)
    return jnp.zeros(num_codes, jnp.int32).at[in_range(index, num_codes).ravel()].add(1, mode="drop")


@checked
def perplexity(counts: NonNegative[ArrayLike]) -> Array:
    """The effective number of codes in use: ``exp(-sum_k p_k log p_k)`` with ``p`` the normalised counts.

    It is from 1 (a single code) to K (uniform usage), ``(...)``; NaN for traced counts that are negative or all zero.

    Args:
      counts: ``(..., K)``, non-negative, not all zero.
    """
    if jnp.ndim(counts) < 1 or jnp.shape(counts)[-1] < 1:
        raise ValueError(f"counts must have shape (..., K), K >= 1, got {jnp.shape(counts)}")
    check(lambda c: np.sum(c, axis=-1) > 0, "not all zero", counts=counts)
    counts = jnp.asarray(counts, jnp.float32)
    share = counts / jnp.sum(counts, axis=-1, keepdims=True)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share), axis=-1))


def _check(x: ArrayLike, codes: ArrayLike) -> tuple[Array, Array]:
    check_floating(x=x, codes=codes)
    x, codes = jnp.asarray(x), jnp.asarray(codes)
    if codes.ndim != 2 or codes.shape[0] < 1 or x.ndim < 1 or x.shape[-1] != codes.shape[1]:
        raise ValueError(f"codes must be (K, D) with the D of x (..., D), got {codes.shape} and {x.shape}")
    return x, codes
