"""Optional conditions of a network, and conditioning dropout.

One network trained with and without its conditions gives both branches of classifier-free guidance. An absent
class is marked by the null label, an absent vector or dense map by the flag of :class:`Masked`. The networks replace
absent conditions by a learned null token.

>>> drop_labels(jax.random.key(0), jnp.arange(3), 1.0, 10)
Array([10, 10, 10], dtype=int32)
>>> conditions = {"labels": jnp.arange(2), "vector": Masked(value=jnp.ones((2, 3)), present=jnp.array([True, True]))}
>>> nulls, rates = {"labels": 10, "vector": ABSENT}, {"labels": 0.0, "vector": 1.0}
>>> out = drop_conditions(jax.random.key(0), conditions, nulls, rates)
>>> out["labels"], out["vector"].present
(Array([0, 1], dtype=int32), Array([False, False], dtype=bool))
>>> found = noise_augmented(Masked(jnp.ones((1, 2, 1))), 0.6, jnp.ones((1, 2, 1))).value
>>> found.shape, bool(jnp.allclose(found[0, 0], jnp.array([1.4, 0.6])))
((1, 2, 2), True)

Source: Ho & Salimans 2022, "Classifier-free diffusion guidance" (https://arxiv.org/abs/2207.12598).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scorekit import trees
from scorekit.arguments import Fraction, checked
from scorekit.checks import check_between, check_floating, check_like, check_per_example
from scorekit.numerics.codes import as_array
from scorekit.trees import expand
from scorekit.typing import Array, ArrayLike, Key, Number


class Masked(NamedTuple):
    """A vector, a dense map or tokens as a condition, and a mask of the examples that have it.

    Attributes:
      value: ``(B, ...)``, or one for all examples; ignored where absent.
      present: booleans ``(B,)``, or one for all examples; of tokens also ``(B, T)``, one for each.
    """

    value: Any
    present: Any = True


ABSENT = Masked(0.0, False)
"""The null value of vectors, dense maps and tokens; :func:`drop_conditions` and guidance broadcast it."""


@checked
def drop_labels(key: Key, labels: ArrayLike, rate: Fraction[Number], null_label: ArrayLike) -> Array:
    """Replaces each label, independently with probability ``rate``, by ``null_label``: ``P(null) = rate``.

    Args:
      key: PRNG key.
      labels: integer labels, any shape.
      rate: probability of dropping.
      null_label: label of the null token, an integer; ``num_classes`` for the networks of this package.
    """
    for name, value in (("labels", labels), ("null_label", null_label)):
        if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
            raise ValueError(f"{name} must be integers, got dtype {jnp.result_type(value)}")
    labels = as_array(labels, "labels")
    dropped = jax.random.bernoulli(key, rate, labels.shape)
    return jnp.where(dropped, jnp.asarray(null_label, labels.dtype), labels)


@checked
def drop_conditions(
    key: Key,
    conditions: Mapping[str, Any],
    nulls: Mapping[str, Any],
    rates: Mapping[str, ArrayLike],
    joint_rate: Fraction[Number] = 0.0,
) -> dict[str, Any]:
    """Drops conditions of each example at random, individually and jointly.

    All conditions of an example are dropped with probability ``joint_rate`` and, independently, condition k with
    probability ``rates[k]``: ``P(k dropped) = 1 - (1 - joint_rate) (1 - rates[k])``.

    Args:
      key: PRNG key.
      conditions: conditions by name, each a tree of ``(B, ...)`` arrays: labels, or a :class:`Masked`.
      nulls: null values by the same names, broadcast to the condition: the null label, :data:`ABSENT`.
      rates: probabilities of dropping each condition by the same names, in [0, 1].
      joint_rate: the probability of dropping all conditions.
    """
    for argument, names in (("nulls", nulls), ("rates", rates)):
        if set(names) != set(conditions):
            raise ValueError(f"{argument} must have the names {sorted(conditions)} of conditions, got {sorted(names)}")
    check_between(0, 1, **{f"rates[{k}]": rates[k] for k in rates})
    if not conditions:
        return {}
    shape = (trees.batch_size(dict(conditions)),)
    for_all, *for_one = jax.random.split(key, 1 + len(conditions))
    all_dropped = jax.random.bernoulli(for_all, joint_rate, shape)

    def drop(key, name):
        dropped = all_dropped | jax.random.bernoulli(key, rates[name], shape)
        replace = lambda x, null: jnp.where(expand(dropped, x), jnp.asarray(null, jnp.result_type(x)), x)
        return jax.tree.map(replace, conditions[name], nulls[name])

    return {name: drop(k, name) for name, k in zip(sorted(conditions), for_one, strict=True)}


@checked
def noise_augmented(condition: Masked, level: Fraction[Number], eps: ArrayLike = 0.0) -> Masked:
    """Noise conditioning augmentation of a dense map: ``sqrt(1 - level^2) map + level eps``.

    The later stage of a cascade is trained on maps of real data and sampled with maps that the stage before generated.
    Noise of a level that is drawn per example in training keeps it from relying on details that are wrong in generated
    maps; the level at sampling is free. The network is conditioned on the level by one more channel of the map.

    Args:
      condition: the map, ``value`` floating ``(B, ..., C)`` of unit order.
      level: noise level, scalar or ``(B,)``; 0 leaves the map unchanged, 1 replaces it by noise.
      eps: standard normal, shaped like the value; not needed at level 0.

    Source: Ho et al. 2022, "Cascaded diffusion models for high fidelity image generation"
    (https://arxiv.org/abs/2106.15282).
    """
    check_floating(condition=condition.value)
    value = jnp.asarray(condition.value)
    check_per_example(value, level=level)
    if jnp.ndim(eps):
        check_like("condition", value, eps=eps)
    level = jnp.broadcast_to(jnp.asarray(level, value.dtype), value.shape[:1])
    wide = expand(level, value)
    noisy = jnp.sqrt(1.0 - wide**2) * value + wide * jnp.asarray(eps, value.dtype)
    channel = jnp.broadcast_to(wide, (*value.shape[:-1], 1))
    return Masked(jnp.concatenate([noisy, channel], axis=-1), condition.present)
