"""The conditions of a model: from a batch, from held-out examples, dropped in training."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, require
from experiments.data.conditions import SECTIONS
from experiments.data.dataset import Dataset, held_out_of, preprocess
from experiments.data.transforms import AUGMENTATION
from experiments.models.choices import NETWORKS
from experiments.models.model import Model
from scorekit.networks import ABSENT, Masked, noise_augmented
from scorekit.typing import Key


def conditions(model: Model, batch: Mapping[str, Any], key: Key | None = None, level: Any = 0.0) -> dict[str, Any]:
    """The conditions of clean examples, by the network's names.

    Args:
      model: the model.
      batch: preprocessed examples; a field ``dense_map`` replaces the map computed from ``x``.
      key: PRNG key of the noise on the map; None for no noise.
      level: of that noise, scalar or ``(B,)``, for a network that is conditioned on it.
    """
    all_of_them = lambda batch: jnp.ones(batch["x"].shape[:1], bool)
    read = lambda name, extract: jnp.asarray(batch[name]) if name in batch else extract(batch)
    named = {
        name: Masked(read(name, extract), getattr(extract, "present", all_of_them)(batch))
        for name, extract in model.extracts.items()
    }
    if model.map_noise is not None:
        value = named["dense_map"].value
        eps = 0.0 if key is None else jax.random.normal(key, value.shape, value.dtype)
        named["dense_map"] = noise_augmented(named["dense_map"], 0.0 if key is None else level, eps)
    return {"labels": jnp.asarray(batch["label"]), **named}


def null_conditions(model: Model) -> dict[str, Any]:
    """The null token of each condition."""
    return {"labels": jnp.int32(model.num_classes), **dict.fromkeys(model.extracts, ABSENT)}


def target_conditions(model: Model, dataset: Dataset, labels) -> dict[str, np.ndarray]:
    """The vector and map of held-out examples of these classes, as plain arrays."""
    if not model.extracts:
        return {}
    batch = preprocess(dataset, held_out_of(dataset, np.asarray(labels, np.int32)))
    return {name: np.asarray(extract(batch)) for name, extract in model.extracts.items()}


def conditions_for(
    model: Model, dataset: Dataset, labels, key: Key | None = None, level: float = 0.0, dense_map: Any = None
) -> dict[str, Any]:
    """Conditions to sample at: the labels, and the vector and map of held-out examples of these classes.

    Args:
      model: the model.
      dataset: its data.
      labels: ``(B,)``.
      key: PRNG key of the noise on the map; None for no noise.
      level: of that noise.
      dense_map: maps ``(B, ...)`` in place of those of held-out examples.
    """
    labels = np.asarray(labels, np.int32)
    if not model.extracts:
        return {"labels": labels}
    batch = preprocess(dataset, held_out_of(dataset, labels))
    if dense_map is not None:
        batch["dense_map"] = dense_map
    return jax.tree.map(np.asarray, conditions(model, batch, key, level))


def dropout_rates(config: Config) -> dict[str, float]:
    """The probability of dropping each condition by itself; the labels of an augmentation are never dropped."""
    used = {name: section for name, section in SECTIONS.items() if config.data[section].name != "none"}
    kept = lambda section: config.data[section].name == AUGMENTATION
    rate = lambda section: 0.0 if kept(section) else config.loss[f"{section}_dropout"] or 0.0
    return {"labels": config.loss.label_dropout, **{name: rate(section) for name, section in used.items()}}


def untrained_nulls(config: Config) -> list[str]:
    """The conditions whose null token is not trained. That of an augmentation is, by the examples as they are."""
    if config.loss.joint_dropout > 0:
        return []
    of_augmentation = config.data.vector.name == AUGMENTATION
    trained = {"vector"} if of_augmentation else set()
    if config.loss.caption_dropout:
        trained |= {"labels", "vector", "tokens"}
    if config.sampling.keep_map:
        trained |= {"dense_map"}  # the unconditional branch has the map
    return [name for name, rate in dropout_rates(config).items() if rate == 0 and name not in trained]


def check(config: Config) -> None:
    """Validates the noise on the map, that the labels of an augmentation are not dropped, and a network with tokens."""
    vector, tokens = config.data.vector.name, config.data.tokens.name
    allowed = f"0 with data.vector.name={vector}: an augmented example without its labels would pass for one as it is"
    for field in ("joint_dropout", "caption_dropout"):
        require(vector != AUGMENTATION or not config.loss[field], f"loss.{field}", config.loss[field], allowed)
    network, attending = config.network.name, [name for name, make in NETWORKS.items() if _attends(make)]
    allowed = f"{' or '.join(attending)} for config.data.tokens.name={tokens}"
    require(tokens == "none" or network in attending, "network.name", network, allowed)
    if tokens == "none":
        require(
            config.loss.tokens_dropout is None,
            "loss.tokens_dropout",
            config.loss.tokens_dropout,
            "None without config.data.tokens",
        )
    require(
        not config.sampling.keep_map or config.data.map.name != "none",
        "sampling.keep_map",
        True,
        "None without config.data.map",
    )
    most, level = config.loss.map_noise, config.sampling.map_noise
    require(most is None or config.data.map.name != "none", "loss.map_noise", most, "None without config.data.map")
    allowed = f"from 0 to config.loss.map_noise={most or 0:g}"
    require(level is None or level <= (most or 0), "sampling.map_noise", level, allowed)


def _attends(make) -> bool:
    """Whether a network takes tokens."""
    return "token_size" in inspect.signature(make).parameters
