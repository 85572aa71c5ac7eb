"""Ancestral sampling, one position after the other, from a cached state."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.arguments import PositiveInt, checked
from scorekit.autoregressive._checks import check_sequences
from scorekit.autoregressive.conditionals import Categorical
from scorekit.autoregressive.models import SequenceModel
from scorekit.checks import check_classes, check_like
from scorekit.numerics.codes import as_index, check_drawn, in_range, is_missing
from scorekit.numerics.meshes import scan, typed_as
from scorekit.typing import Array, ArrayLike, Key


@checked
def sample(
    key: Key,
    model: SequenceModel,
    batch: PositiveInt,
    length: PositiveInt,
    *,
    prefix: ArrayLike | None = None,
    transform: Callable[[Array], Array] | None = None,
) -> Array:
    """Draws sequences in one ``lax.scan``: ``x_i ~ p(x_i | x_<i)``, ``outputs, state = model.step(state, x_{i-1})``.

    Each position is one step from the state of the one before, not an evaluation of the whole past. Wrap the call in
    ``jax.jit`` with static ``batch`` and ``length``.

    Args:
      key: PRNG key.
      model: the model.
      batch: B, the number of sequences, as many as the conditions of the model.
      length: L, the number of positions.
      prefix: the beginning of all sequences, ``(B, K)`` or ``(B, K, C)`` with K <= L, which is kept.
      transform: changes the outputs of every step, such as ``lambda logits: nucleus(logits, 0.9)``; default none.

    Returns:
      ``(B, L)`` int32 codes, or ``(B, L, C)`` values.

    Raises:
      ValueError: for a prefix that is too long or of another kind, a transform of another shape, a code of the prefix
        out of range, or logits of which the largest is not finite: if traced, that code and all later ones are -1.

    >>> from scorekit.autoregressive import markov_chain
    >>> turns = markov_chain(jnp.zeros(2), jnp.array([[-jnp.inf, 0.0], [0.0, -jnp.inf]]))  # 0, 1, 0, 1, ...
    >>> sample(jax.random.key(0), turns, 1, 5, prefix=jnp.array([[1]])).tolist()
    [[1, 0, 1, 0, 1]]

    Source: Paine et al. 2016 (https://arxiv.org/abs/1611.09482).
    """
    if key is None:
        raise ValueError("key must be a PRNG key, got None")
    start, of_codes = model.conditional.zeros(batch), isinstance(model.conditional, Categorical)
    given, count = jnp.zeros((length, *start.shape), start.dtype), 0
    if prefix is not None:
        prefix = check_sequences(model.conditional, prefix, "prefix")
        count = prefix.shape[1]
        if isinstance(model.conditional, Categorical):  # a traced code out of range is none, as are all after it
            num_codes = model.conditional.num_codes
            check_classes(num_codes, prefix=prefix)
            prefix = jnp.where(in_range(prefix, num_codes) < num_codes, prefix.astype(start.dtype), -1)
        if prefix.shape[0] != batch or count > length:
            raise ValueError(
                f"prefix must have shape ({batch}, K, ...) with K from 1 to {length}, got {jnp.shape(prefix)}"
            )
        prefix = jnp.moveaxis(prefix, 1, 0).astype(start.dtype)
        start = typed_as(start, prefix[0])
        given = jnp.pad(prefix, [(0, length - count), *[(0, 0)] * start.ndim])

    def body(carry, inputs):
        previous, state = carry
        key, value, is_given = inputs
        outputs, state = model.step(state, as_index(previous) if of_codes else previous)
        if transform is not None:
            changed = transform(outputs)
            check_like("the outputs of the model", outputs, transform=changed)
            outputs = changed
        x = model.conditional.sample(key, outputs).astype(start.dtype)
        x = x if prefix is None else jnp.where(is_given, value, typed_as(x, value))
        x = jnp.where(is_missing(previous), previous, x) if of_codes else x
        return (x, state), x

    inputs = jax.random.split(key, length), given, jnp.arange(length) < count
    _, x = scan(body, (start, model.init_state(batch, length)), inputs)
    x = jnp.moveaxis(x, 0, 1)
    if of_codes:
        check_drawn("give outputs with a finite largest logit", model=x)
    return x
