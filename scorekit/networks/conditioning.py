"""Conditioning dropout: training one network with and without its label."""

import jax
import jax.numpy as jnp

from scorekit.trees import check
from scorekit.typing import Array, ArrayLike, Key


def drop_labels(key: Key, labels: ArrayLike, rate: ArrayLike, null_label: ArrayLike) -> Array:
    """Replaces each label, independently with probability ``rate``, by ``null_label``.

    A network trained on such labels gives both branches of classifier-free guidance (Ho & Salimans 2022,
    arXiv:2207.12598).

    Args:
      key: PRNG key.
      labels: integer labels, any shape.
      rate: probability of dropping, in [0, 1].
      null_label: the label of the null token; ``num_classes`` for the networks of this package.

    Returns:
      Labels of the same shape and dtype.

    Raises:
      ValueError: if ``rate`` is outside [0, 1].

    >>> drop_labels(jax.random.key(0), jnp.arange(3), 1.0, 10)
    Array([10, 10, 10], dtype=int32)
    """
    check(lambda r: (r >= 0) & (r <= 1), "in [0, 1]", rate=rate)
    labels = jnp.asarray(labels)
    dropped = jax.random.bernoulli(key, rate, labels.shape)
    return jnp.where(dropped, jnp.asarray(null_label, labels.dtype), labels)
