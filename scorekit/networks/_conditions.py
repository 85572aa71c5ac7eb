"""Conditions as every network takes them: one value per example, and a learned null token where it is absent."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from scorekit import trees
from scorekit.networks.conditioning import ABSENT, Masked
from scorekit.numerics.codes import as_array, in_range
from scorekit.typing import Array, ArrayLike


def as_masked(name: str, condition: Any, shape: tuple[int, ...] | None, batch: int) -> Masked | None:
    """Normalises a condition to float32 ``value`` ``(B, *shape)``, zero where absent, and ``present`` ``(B,)``.

    It is an array (present for all), a :class:`Masked`, or None (absent for all), of the shape of one example; None is
    the shape for a network without it. ``name`` is for error messages.
    """
    if shape is None:
        if condition is not None:
            raise ValueError(f"{name} must be None for a network that was built without it")
        return None
    condition = ABSENT if condition is None else condition
    value, present = condition if isinstance(condition, Masked) else Masked(condition)
    value, present = jnp.asarray(value, jnp.float32), jnp.asarray(present)
    if present.dtype != bool or present.shape not in ((), (batch,)):
        raise ValueError(
            f"{name}.present must be a boolean or ({batch},) booleans, got {present.shape} {present.dtype}"
        )
    if value.shape not in ((), shape, (batch, *shape)):
        raise ValueError(f"{name} must have shape {(batch, *shape)}, got {value.shape}")
    value, present = jnp.broadcast_to(value, (batch, *shape)), jnp.broadcast_to(present, (batch,))
    return Masked(trees.where(present, value, jnp.zeros_like(value)), present)


class OrNull(nn.Module):
    """An embedding ``(B, ..., features)`` where it is present ``(B,)``, a learned null token elsewhere."""

    @nn.compact
    def __call__(self, embedded: Array, present: Array) -> Array:
        features = embedded.shape[-1]
        null = self.param("null", nn.initializers.normal(features**-0.5), (features,), jnp.float32)
        return trees.where(present, embedded, jnp.broadcast_to(null.astype(embedded.dtype), embedded.shape))


def as_labels(labels: ArrayLike | None, num_classes: int | None, batch: int) -> Array | None:
    """Labels as ``(B,)``: the null label ``num_classes`` where they are None, and one that no table has where they are
    negative; None for a network without classes.
    """
    if num_classes is None:
        if labels is not None:
            raise ValueError("labels must be None for a network with num_classes=None")
        return None
    labels = per_example("labels", num_classes if labels is None else labels, batch)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be integers, got dtype {labels.dtype}")
    return in_range(labels, num_classes + 1)


def per_position(name: str, value: ArrayLike, batch: int, positions: int | None) -> Array:
    """A scalar or ``(B,)`` as ``(B,)``; with T positions also ``(B, T)``, one value for each, as it is."""
    value = jnp.asarray(value)
    if value.ndim < 2 or positions is None:
        return per_example(name, value, batch)
    if value.shape != (batch, positions):
        allowed = f"a scalar or have shape ({batch},), or ({batch}, {positions}), one per position"
        raise ValueError(f"{name} must be {allowed}, got shape {value.shape}")
    return value


def along_positions(condition: Array) -> Array:
    """An embedding ``(B, F)``, or ``(B, T, F)`` of each position, as it adds to ``(B, T, F)``."""
    return condition[:, None] if condition.ndim == 2 else condition


def per_example(name: str, value: ArrayLike, batch: int) -> Array:
    """A scalar or ``(B,)`` as ``(B,)``."""
    value = as_array(value, name)
    if value.shape not in ((), (batch,)):
        raise ValueError(f"{name} must be a scalar or have shape ({batch},), got shape {value.shape}")
    return jnp.broadcast_to(value, (batch,))
