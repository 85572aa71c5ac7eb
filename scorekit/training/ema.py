"""Exponential moving averages of the parameters, several decays at once."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from scorekit.checks import check, check_between, check_floating, check_like
from scorekit.typing import Array, ArrayLike, PyTree


def init_ema(params: PyTree, decays: Sequence[float]) -> dict[str, PyTree]:
    """Float32 copies of the parameters, one per decay, keyed by the decay as a string.

    Args:
      params: pytree of floating arrays.
      decays: decays in [0, 1); empty for no average.

    Returns:
      ``{str(decay): tree}``; its keys hold the decays for :func:`update_ema`.

    Raises:
      ValueError: if a decay is outside [0, 1) or a parameter is not floating.

    >>> init_ema(jnp.ones(2), (0.99, 0.999))
    {'0.99': Array([1., 1.], dtype=float32), '0.999': Array([1., 1.], dtype=float32)}
    """
    for decay in decays:
        check(lambda d: (d >= 0) & (d < 1), "in [0, 1)", decays=decay)
    check_floating(params=params)
    copy = lambda x: jnp.array(x, jnp.float32, copy=True)  # the step donates params and averages
    return {str(float(decay)): jax.tree.map(copy, params) for decay in decays}


def ema_decay(decay: ArrayLike, updates: ArrayLike) -> Array:
    """The decay with warm-up: ``min(decay, (1 + n) / (10 + n))`` after ``n`` updates.

    The average forgets the initial parameters quickly instead of keeping them for ``1 / (1 - decay)`` updates.

    Args:
      decay: the decay after the warm-up, in [0, 1].
      updates: number of updates n, >= 0.

    Raises:
      ValueError: for an argument out of its range; if it is traced, the result is NaN.

    >>> ema_decay(0.999, jnp.array([0, 90, 100_000]))
    Array([0.1  , 0.91 , 0.999], dtype=float32)
    """
    check_between(0, 1, decay=decay)
    check(lambda n: n >= 0, ">= 0", updates=updates)
    decay, updates = jnp.asarray(decay, jnp.float32), jnp.asarray(updates, jnp.float32)
    valid = (decay >= 0) & (decay <= 1) & (updates >= 0)
    return jnp.where(valid, jnp.minimum(decay, (1 + updates) / (10 + updates)), jnp.nan)


def update_ema(ema: dict[str, PyTree], params: PyTree, updates: ArrayLike) -> dict[str, PyTree]:
    """Updates every average: ``e <- d e + (1 - d) params``, d from :func:`ema_decay`.

    Args:
      ema: averages made by :func:`init_ema`.
      params: the new parameters.
      updates: number of updates before this one.

    Returns:
      The new averages, float32.

    Raises:
      ValueError: if ``params`` and an average differ in structure or shapes, or ``updates`` is negative.
    """
    for average_of in ema.values():
        check_like("ema", average_of, params=params)

    def average(decay, tree):
        d = ema_decay(float(decay), updates)
        return jax.tree.map(lambda e, p: e + (1 - d) * (p.astype(jnp.float32) - e), tree, params)

    return {decay: average(decay, tree) for decay, tree in ema.items()}
