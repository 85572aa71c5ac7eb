"""Draws of codes from logits, where a value that is not finite must not look like a code.

Where no code can be drawn the result is -1 (the largest value of an unsigned type), which no vocabulary has. The -1 is
kept to the end of sampling and is never an index: JAX would count it from the end of a table.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike, Key


def no_code(dtype: DTypeLike) -> int:
    """The code of nothing in an integer type.

    Args:
      dtype: an integer type.

    >>> no_code(np.int32), no_code(np.uint8)
    (-1, 255)
    """
    return int(np.array(-1).astype(dtype))


def as_array(codes: ArrayLike, name: str = "codes") -> Array:
    """Codes as an array of JAX, whose integers may have 32 bits: larger ones are an error and do not wrap.

    Args:
      codes: integers, any shape.
      name: name of the argument in the message.

    >>> as_array(np.array([2**32 + 1]), "labels")
    Traceback (most recent call last):
    ValueError: labels must hold integers that fit in int32, got [4294967297]
    """
    kept = jnp.asarray(codes)
    if isinstance(codes, np.ndarray | np.generic) and codes.dtype.kind in "iu" and kept.dtype != codes.dtype:
        limits = np.iinfo(kept.dtype)
        if np.any((codes < limits.min) | (codes > limits.max)):
            raise ValueError(f"{name} must hold integers that fit in {kept.dtype}, got {codes}")
    return kept


def as_codes(codes: ArrayLike) -> Array:
    """Codes as integers of at least 32 bits, in which the number of classes has room.

    Args:
      codes: integers, any shape.

    >>> as_codes(np.array([1, 255], np.uint8)).dtype
    dtype('int32')
    """
    codes = as_array(codes)
    return codes if codes.dtype.itemsize >= 4 else codes.astype(jnp.int32)


def in_range(index: ArrayLike, size: int) -> Array:
    """Indices as integers of at least 32 bits, of which negative ones, which would count from the end, become ``size``.

    Args:
      index: integers, any shape.
      size: what negative ones become: the number of rows of a table.

    >>> in_range(np.array([1, -1], np.int8), 128).tolist()
    [1, 128]
    """
    index = as_codes(index)
    return jnp.where(index < 0, size, index)


def draw_codes(key: Key, logits: Array) -> Array:
    """A code drawn from each conditional ``(..., V)``, int32; -1 where the largest logit is not finite.

    Args:
      key: a key of ``jax.random``.
      logits: ``(..., V)``.

    >>> draw_codes(jax.random.key(0), jnp.array([[-jnp.inf, 0.0], [-jnp.inf, -jnp.inf], [0.0, jnp.nan]])).tolist()
    [1, -1, -1]
    """
    drawn = jax.random.categorical(key, logits).astype(jnp.int32)
    # comparisons, as the maximum of XLA on a CPU may leave out NaN
    finite = jnp.all(logits < jnp.inf, axis=-1) & jnp.any(logits > -jnp.inf, axis=-1)
    return jnp.where(finite, drawn, -1)


def is_missing(codes: Array) -> Array:
    """Where nothing could be drawn.

    Args:
      codes: integers, any shape.

    >>> is_missing(jnp.array([3, -1])).tolist()
    [False, True]
    """
    return codes == np.array(no_code(codes.dtype), codes.dtype)


def as_index(codes: ArrayLike) -> Array:
    """The codes with 0 in place of those that are missing.

    Args:
      codes: integers, any shape.

    >>> as_index(jnp.array([3, -1])).tolist()
    [3, 0]
    """
    codes = jnp.asarray(codes)
    return jnp.where(is_missing(codes), 0, codes)


def check_drawn(must: str, **named: Array) -> None:
    """Raises a ``ValueError`` that names the source of the codes ``(B, ...)``, if some of them are missing.

    Args:
      must: what the source of the codes must do, for the message.
      named: codes ``(B, ...)`` under the name of their source; tracers are not checked.

    >>> check_drawn("have a finite largest logit", outputs=np.array([[1, 2], [-1, 0]]))
    Traceback (most recent call last):
    ValueError: outputs must have a finite largest logit, but for 1 of 2 examples it does not
    """
    for name, codes in named.items():
        if not is_traced(codes):
            missing = np.asarray(is_missing(jnp.asarray(codes)))
            failed = missing.any(axis=tuple(range(1, missing.ndim)))
            if np.any(failed):
                raise ValueError(
                    f"{name} must {must}, but for {np.sum(failed)} of {np.size(failed)} examples it does not"
                )
