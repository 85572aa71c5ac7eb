"""Vector quantisation: the nearest of K learned vectors, the codes, in place of a vector, and how both are trained.

With ``e`` the code nearest to ``x``, and ``sg`` the identity without gradient, training minimises the loss of whatever
reads ``e`` plus

    |sg(x) - e|^2           moves the codes to the vectors that choose them,
    b |x - sg(e)|^2         commits the vectors to their codes,

and gives ``x`` the gradient of the loss with respect to ``e`` as if rounding were the identity (straight through).
Everything here is a pure function of vectors ``(..., D)`` and codes ``(K, D)``.

Source: van den Oord, Vinyals and Kavukcuoglu 2017, "Neural discrete representation learning", eqs. 1-3
(https://arxiv.org/abs/1711.00937).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike


class Quantised(NamedTuple):
    """Vectors rounded to codes.

    Attributes:
      values: the nearest codes ``(..., D)``; the gradient passes straight through to the vectors.
      index: which they are, int32 ``(...)``.
      codebook: ``mean_D (sg(x) - e)^2``, ``(...)``; its gradient is with respect to the codes.
      commitment: ``mean_D (x - sg(e))^2``, ``(...)``: the same numbers; the gradient is with respect to the vectors.
    """

    values: Array
    index: Array
    codebook: Array
    commitment: Array


def nearest_code(x: ArrayLike, codes: ArrayLike) -> Array:
    """``argmin_k |x - e_k|^2``, the first of equals.

    Args:
      x: vectors ``(..., D)``.
      codes: ``(K, D)``.

    Returns:
      int32 ``(...)``.

    Raises:
      ValueError: if ``codes`` is not ``(K, D)`` with the D of ``x``.

    >>> nearest_code(jnp.array([[0.9, 0.0], [0.1, 0.0]]), jnp.array([[0.0, 0.0], [1.0, 0.0]])).tolist()
    [1, 0]
    """
    x, codes = _check(x, codes)
    centre = jnp.mean(codes, axis=0)  # distances keep their digits where all codes lie far from the origin
    x, codes = x - centre, codes - centre
    products = jnp.matmul(x, codes.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmin(jnp.sum(codes**2, axis=-1) - 2.0 * products, axis=-1).astype(jnp.int32)


def quantise(x: ArrayLike, codes: ArrayLike) -> Quantised:
    """Rounds vectors to the nearest codes, with the losses that train both.

    Args:
      x: vectors ``(..., D)``.
      codes: ``(K, D)``.

    Returns:
      The result, see :class:`Quantised`.

    Raises:
      ValueError: as :func:`nearest_code`.

    >>> found = quantise(jnp.array([[0.8, 0.0]]), jnp.array([[0.0, 0.0], [1.0, 0.0]]))
    >>> found.values.tolist(), found.index.tolist(), round(float(found.commitment[0]), 3)
    ([[1.0, 0.0]], [1], 0.02)
    """
    x, codes = _check(x, codes)
    index = nearest_code(jax.lax.stop_gradient(x), jax.lax.stop_gradient(codes))
    chosen = codes[index]
    fixed = jax.lax.stop_gradient
    return Quantised(
        values=x + fixed(chosen - x),
        index=index,
        codebook=jnp.mean((fixed(x) - chosen) ** 2, axis=-1),
        commitment=jnp.mean((x - fixed(chosen)) ** 2, axis=-1),
    )


def revival_loss(x: ArrayLike, codes: ArrayLike, index: Array) -> Array:
    """Draws codes that no vector chose towards the vectors: ``mean_k [unused] mean_D (sg(x_k) - e_k)^2``.

    A code that is never the nearest gets no gradient from the codebook loss and stays dead. Here every code that is not
    in ``index`` has a vector of its own, ``x_k``, the N vectors of the batch taken at even steps of N / K; with batches
    in random order that is a random vector at every step, until the code is near enough to be chosen.

    Args:
      x: vectors ``(..., D)``.
      codes: ``(K, D)``.
      index: the codes that the vectors chose, any shape.

    Returns:
      A scalar; its gradient is zero in codes that are used, and in ``x``.

    Raises:
      ValueError: as :func:`nearest_code`.

    >>> codes = jnp.array([[0.0], [1.0]])
    >>> round(float(revival_loss(jnp.array([[0.1], [0.3]]), codes, jnp.array([0, 0]))), 4)  # (1 - 0.3)^2 / 2
    0.245
    """
    x, codes = _check(x, codes)
    size = codes.shape[0]
    vectors = jax.lax.stop_gradient(x).reshape(-1, codes.shape[1])
    unused = jnp.ones(size, bool).at[index.ravel()].set(False)
    partners = vectors[(jnp.arange(size) * vectors.shape[0]) // size]
    return jnp.mean(jnp.where(unused, jnp.mean((partners - codes) ** 2, axis=-1), 0.0))


def code_counts(index: Array, num_codes: int) -> Array:
    """How often each code was chosen, int32 ``(num_codes,)``.

    >>> code_counts(jnp.array([[0, 2], [2, 2]]), 3).tolist()
    [1, 0, 3]
    """
    return jnp.zeros(num_codes, jnp.int32).at[index.ravel()].add(1)


def perplexity(counts: ArrayLike) -> Array:
    """``exp(-sum_k p_k log p_k)`` with ``p`` the shares of the counts: how many codes are in use, in effect.

    Args:
      counts: ``(..., K)``, non-negative, not all zero.

    Returns:
      ``(...)``, from 1 (one code) to K (all equally often).

    >>> round(float(perplexity(jnp.array([5, 5, 0, 0]))), 4)
    2.0
    """
    counts = jnp.asarray(counts, jnp.float32)
    share = counts / jnp.sum(counts, axis=-1, keepdims=True)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share), axis=-1))


def _check(x: ArrayLike, codes: ArrayLike) -> tuple[Array, Array]:
    x, codes = jnp.asarray(x), jnp.asarray(codes)
    if codes.ndim != 2 or x.ndim < 1 or x.shape[-1] != codes.shape[1]:
        raise ValueError(f"codes must be (K, D) with the D of x (..., D), got {codes.shape} and {x.shape}")
    return x, codes
