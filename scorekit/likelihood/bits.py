"""Bits per dimension, together with the offset and the kind of dequantisation, needed for any comparison.

Integers ``0..bins-1`` become continuous as ``z = 2 (x + u) / bins - 1`` in [-1, 1] with ``u`` in [0, 1): a bin has
volume ``(2 / bins)^D``, which is the offset ``log2(bins / 2)`` bits per dimension.
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, PositiveInt, checked
from scorekit.checks import check_classes, check_like, nan_unless
from scorekit.numerics import wide
from scorekit.numerics.codes import in_range
from scorekit.trees import batch_size, event_size, is_traced, pytree_dataclass, static
from scorekit.typing import Array, ArrayLike, Key, PyTree

_Dequantisation: TypeAlias = Literal["none", "uniform", "variational"]
_Dequantiser: TypeAlias = Callable[[Key, PyTree], tuple[PyTree, Array]]
"""``(key, x) -> (u, log q(u | x))``: ``u`` in [0, 1) shaped like ``x``, and its log-density ``(B,)``."""


@pytree_dataclass
class BitsPerDim:
    """A code length.

    Attributes:
      bits_per_dim: ``-log2 p / D + offset``, ``(B,)``.
      offset: the contribution of the scale of the data: ``log2(bins / 2)``, or 0 without dequantisation.
      dequantisation: "none", "uniform" or "variational".

    >>> bits_per_dim(jnp.zeros(1), 4, bins=256, dequantisation="uniform").offset
    Array(7., dtype=float32)

    Source: Theis et al. 2016 (https://arxiv.org/abs/1511.01844).
    """

    bits_per_dim: Array
    offset: Array
    dequantisation: str = static()


@checked
def bits_per_dim(
    log_p: ArrayLike,
    event_size: PositiveInt,
    *,
    bins: Annotated[int, Count(2)] | None = None,
    dequantisation: _Dequantisation = "none",
) -> BitsPerDim:
    """``-log_p / (D log 2) + offset``, of the shape of ``log_p``.

    Args:
      log_p: nats, any shape; NaN gives NaN. With "none", a density in the units of the data or the probability of
        discrete values (minus :func:`scorekit.likelihood.variational_bound` with ``bins``). With "uniform", the
        log-density of dequantised data on [-1, 1]; with "variational", that minus ``log q(u | x)``.
      event_size: D, the number of values in one example.
      bins: the number of values of discrete data; required unless "none", where it is None.
      dequantisation: the kind of dequantisation; it determines the offset and is part of the result.

    >>> code = bits_per_dim(-64 * jnp.log(2.0), 64, bins=256, dequantisation="uniform")
    >>> float(code.bits_per_dim), float(code.offset), code.dequantisation
    (8.0, 7.0, 'uniform')

    Source: Theis et al. 2016 (https://arxiv.org/abs/1511.01844).
    """
    if dequantisation == "none" and bins is not None:
        raise ValueError(f"bins must be None without dequantisation, got {bins}")
    if dequantisation != "none" and bins is None:
        raise ValueError(f"bins must be an integer >= 2 with {dequantisation} dequantisation, got None")
    log_p = jnp.asarray(log_p)
    log_p = wide(log_p)
    offset = jnp.asarray(math.log2(bins / 2) if bins else 0.0, log_p.dtype)
    bits = -log_p / (event_size * math.log(2.0)) + offset
    return BitsPerDim(bits_per_dim=bits, offset=offset, dequantisation=dequantisation)


@checked
def dequantised_bits_per_dim(
    key: Key,
    log_density: Callable[[Key, PyTree], Array],
    x: PyTree,
    bins: Annotated[int, Count(2)],
    dequantiser: _Dequantiser | None = None,
) -> BitsPerDim:
    """Bits per dimension of integers under a density on [-1, 1]: a single-sample estimate of an upper bound.

    ``-log2 P(x) <= E_u[log2 q(u | x) - log2 p(z)] + D log2(bins / 2)`` with ``z = 2 (x + u) / bins - 1``.

    Args:
      key: PRNG key.
      log_density: ``(key, z) -> log p(z)`` in nats ``(B,)``, for instance of
        :func:`scorekit.likelihood.log_likelihood`.
      x: integers in ``0..bins-1``, leaves ``(B, ...)``; a traced one out of range gives NaN.
      bins: the number of values.
      dequantiser: ``(key, x) -> (u, log q(u | x))`` for variational dequantisation; by default ``u`` is uniform.

    >>> uniform = lambda key, z: jnp.full(z.shape[0], -4 * jnp.log(2.0))
    >>> dequantised_bits_per_dim(jax.random.key(0), uniform, jnp.zeros((1, 4), int), bins=16).bits_per_dim
    Array([4.], dtype=float32)

    Source: Theis et al. 2016 (https://arxiv.org/abs/1511.01844); Ho et al. 2019
    (https://arxiv.org/abs/1902.00275).
    """
    for leaf in jax.tree.leaves(x):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.integer):
            raise ValueError(f"x must be of an integer type, values 0..bins-1, got {jnp.result_type(leaf)}")
        check_classes(bins, x=leaf)
    for_noise, for_density = jax.random.split(key)
    if dequantiser is None:
        leaves, treedef = jax.tree.flatten(x)
        keys = jax.random.split(for_noise, len(leaves))
        draws = [jax.random.uniform(k, np.shape(leaf)) for k, leaf in zip(keys, leaves, strict=True)]
        u, log_q = jax.tree.unflatten(treedef, draws), jnp.zeros(batch_size(x))
    else:
        u, log_q = dequantiser(for_noise, x)
    z = jax.tree.map(lambda x, u: 2.0 * (x + u) / bins - 1.0, x, u)
    log_p = log_density(for_density, z)
    check_like("one value for every example", jnp.zeros(batch_size(x)), **{"log_density(key, z)": log_p})
    within = [jnp.all(in_range(leaf, bins) < bins) for leaf in jax.tree.leaves(x) if is_traced(leaf)]
    code = bits_per_dim(
        log_p - log_q,
        event_size(x),
        bins=bins,
        dequantisation="uniform" if dequantiser is None else "variational",
    )
    return nan_unless(jnp.all(jnp.stack(within)), code) if within else code
