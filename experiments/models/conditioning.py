"""The conditions of a model: from a batch, from held-out examples, dropped in training."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.conditions import Extract
from experiments.data.dataset import Dataset, held_out_of, preprocess
from scorekit.networks import ABSENT, Masked, noise_augmented
from scorekit.typing import Key

GUIDANCE = "guidance_scale"
"""The name of γ among the conditions of a flow map; without it, γ is 1."""


class Conditioned(Protocol):
    """A model with conditions, such as :class:`experiments.tasks.diffusion.model.Model`."""

    @property
    def num_classes(self) -> int: ...

    @property
    def extracts(self) -> Mapping[str, Extract]: ...

    @property
    def map_noise(self) -> float | None: ...


def conditions(
    model: Conditioned, batch: Mapping[str, Any], key: Key | None = None, level: Any = 0.0
) -> dict[str, Any]:
    """The conditions of clean examples, by the network's names.

    Args:
      batch: preprocessed examples; a field ``dense_map`` replaces the map computed from ``x``.
      key: PRNG key of the noise on the map; None for no noise.
      level: level of that noise, scalar or ``(B,)``, for a network that is conditioned on it.
    """
    named = {}
    for name, extract in model.extracts.items():
        value = jnp.asarray(batch[name]) if name in batch else extract(batch)
        present = extract.present(batch) if hasattr(extract, "present") else jnp.ones(batch["x"].shape[:1], bool)
        named[name] = Masked(value, present)
    if model.map_noise is not None:
        value = named["dense_map"].value
        eps = 0.0 if key is None else jax.random.normal(key, value.shape, value.dtype)
        named["dense_map"] = noise_augmented(named["dense_map"], 0.0 if key is None else level, eps)
    return {"labels": jnp.asarray(batch["label"]), **named}


def null_conditions(model: Conditioned) -> dict[str, Any]:
    """The null token of each condition."""
    return {"labels": jnp.int32(model.num_classes), **dict.fromkeys(model.extracts, ABSENT)}


def target_conditions(model: Conditioned, dataset: Dataset, labels) -> dict[str, np.ndarray]:
    """The vector and map of held-out examples of these classes, as plain arrays."""
    if not model.extracts:
        return {}
    batch = preprocess(dataset, held_out_of(dataset, np.asarray(labels, np.int32)))
    return {name: np.asarray(extract(batch)) for name, extract in model.extracts.items()}


def conditions_for(
    model: Conditioned, dataset: Dataset, labels, key: Key | None = None, level: float = 0.0, dense_map: Any = None
) -> dict[str, Any]:
    """Conditions to sample at: the labels, and the vector and map of held-out examples of these classes.

    Args:
      labels: ``(B,)``.
      key: PRNG key of the noise on the map; None for no noise.
      level: level of that noise.
      dense_map: maps ``(B, ...)`` in place of the maps of held-out examples.
    """
    labels = np.asarray(labels, np.int32)
    if not model.extracts:
        return {"labels": labels}
    batch = preprocess(dataset, held_out_of(dataset, labels))
    if dense_map is not None:
        batch["dense_map"] = dense_map
    return jax.tree.map(np.asarray, conditions(model, batch, key, level))
