"""Invertible flows from a config: the network, its exact loss in nats per dimension, samples."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.choices import Choices
from experiments.cli.config import Config, require
from experiments.cli.fields import POSITIVE, Field, Section
from experiments.data import conditions as data_conditions
from experiments.data.dataset import Dataset, preprocess, rows_of
from experiments.models.conditioning import conditions, conditions_for, null_conditions
from experiments.models.devices import everywhere, spread, spread_jit
from experiments.models.networks import SIZES, module
from experiments.models.run_files import SAMPLED
from experiments.models.samples import Generate, PartialSamples, check_samples, digest_of, in_batches
from experiments.tasks.diffusion.fields import MODEL_FIELDS
from scorekit import likelihood
from scorekit.arguments import Count
from scorekit.networks import drop_conditions
from scorekit.networks.flows import Flow
from scorekit.typing import Array, Key, PyTree

FLOWS = Choices(
    {
        "couplingflow": "scorekit.networks.flows:CouplingFlow",
        "autoregressiveflow": "scorekit.networks.flows:AutoregressiveFlow",
    },
    "couplingflow",
    "What is trained: an invertible network.",
    ("num_classes", "vector_size", "map_shape", "map_size", "data_channels"),
    bounds=SIZES,
    adapt=module,
)

FIELDS = Section(
    network=FLOWS,
    loss=Section({name: MODEL_FIELDS["loss"][name] for name in ("label_dropout", "vector_dropout", "map_dropout")}),
    sampling=Section(
        guidance_scale=Field(1, Count(0, 1), "1 draws given the class and other conditions, 0 without them."),
        temperature=Field(1.0, POSITIVE, "Standard deviation of the latents of samples."),
        ema=SAMPLED,
        batch_size=Field(500, Count(1, 2**20), "Samples that are drawn at once, on all devices together."),
    ),
)
"""The sections of a flow's config beside ``data``, ``training`` and ``evaluation``."""
_FIRST = 256
"""Training examples that the parameters are initialised with."""


class Flows(NamedTuple):
    """What a config describes.

    Attributes:
      module: the network.
      num_classes: classes; label ``num_classes`` is the null token.
      shape: shape of one example.
      extracts: computes the conditions apart from the class.
      bins: values of discrete data, which are dequantised; None for continuous data.
    """

    module: Flow
    num_classes: int
    shape: tuple[int, ...]
    extracts: Mapping[str, data_conditions.Extract]
    bins: int | None
    map_noise: float | None = None


def check(config: Config, dataset: Dataset) -> None:
    """Validates relations between fields; nothing is compiled."""
    data.check_not_symbols(config, dataset)
    tokens = config.conditions.tokens.name
    require(
        tokens == "none", "conditions.tokens.name", tokens, "none: a flow has a class, a vector and a map as conditions"
    )
    scale, dropout = config.sampling.guidance_scale, config.loss.label_dropout
    allowed = "1 for config.loss.label_dropout=0, without which there is no unconditional model"
    require(scale == 1 or dropout > 0, "sampling.guidance_scale", scale, allowed)
    axes = dataset.axes
    allowed = "couplingflow for images: an autoregressive flow takes signals and vectors"
    require(axes < 2 or config.network.name == "couplingflow", "network.name", config.network.name, allowed)


def build(config: Config, dataset: Dataset) -> Flows:
    """Puts the parts of the config together."""
    extracts = data.build_conditions(config, dataset)
    sizes = data_conditions.sizes(extracts, dataset)
    num_classes = dataset.num_classes if dataset.labelled else None
    shape, given = dataset.shape, {"num_classes": num_classes, "vector_size": sizes["vector_size"]}
    if config.network.name == "couplingflow":
        given["map_shape"] = sizes["map_shape"]
    else:
        given |= {"map_size": (sizes["map_shape"] or [None])[-1], "data_channels": 1 if len(shape) == 1 else shape[-1]}
    module = FLOWS.build(config, "network", **given)
    return Flows(module, dataset.num_classes, shape, extracts, dataset.bins)


def _named(model: Flows, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "labels" or model.module.num_classes is not None}


def dequantised(model: Flows, key: Key, batch: Mapping[str, Any]) -> Array:
    """Examples with uniform noise of the width of a bin, on the scale on which the outermost bins are centred at ±1."""
    if model.bins is None:
        return batch["x"]
    width = 2.0 / (model.bins - 1)
    return batch["x"] + width * (jax.random.uniform(key, batch["x"].shape) - 0.5)


def init_params(model: Flows, dataset: Dataset, key: Key) -> PyTree:
    """The initial parameters, for which latents of the first training examples have mean 0 and variance 1."""
    for_params, for_noise = jax.random.split(key)

    def init(first):
        batch = preprocess(dataset, first)
        given = _named(model, conditions(model, batch))
        return model.module.init(for_params, dequantised(model, for_noise, batch), **given)

    return jax.jit(init)(rows_of(dataset.train, slice(_FIRST)))


def make_prepare(model: Flows, dataset: Dataset, rates: Mapping[str, float] | None = None):
    """``(key, batch) -> batch``: noise of dequantisation, and conditions that are dropped at these rates, or none."""
    nulls = null_conditions(model)

    def prepare(key, batch):
        for_noise, for_dropout = jax.random.split(key)
        batch = preprocess(dataset, batch)
        given = drop_conditions(for_dropout, conditions(model, batch), nulls, rates or dict.fromkeys(nulls, 0.0))
        return {"x": dequantised(model, for_noise, batch), "conditions": given}

    return prepare


def log_prob(model: Flows, params: PyTree, x: Array, given: Mapping[str, Any]) -> Array:
    """Nats ``(B,)`` given the conditions."""
    return cast(Array, model.module.apply(params, x, **_named(model, given), method="log_prob"))


def make_loss(model: Flows):
    """``(params, prepared batch) -> (nats per dimension of each example, auxiliary values)``."""

    def loss(params, batch):
        return -log_prob(model, params, batch["x"], batch["conditions"]) / math.prod(model.shape), {}

    return loss


def bits_per_dim(model: Flows, dataset: Dataset, params: PyTree, key: Key, batch: Mapping[str, Any]) -> Array:
    """Bits per dimension ``(B,)`` given the conditions, for one draw of the noise of uniform dequantisation."""
    batch = preprocess(dataset, batch)
    given, dim = conditions(model, batch), math.prod(model.shape)
    if model.bins is None:
        return likelihood.bits_per_dim(log_prob(model, params, batch["x"], given), dim).bits_per_dim
    wider = model.bins / (model.bins - 1)  # the outermost bins are centred at -1 and 1
    density = lambda key, z: log_prob(model, params, wider * z, given) + dim * math.log(wider)
    return likelihood.dequantised_bits_per_dim(key, density, batch["raw"].astype(jnp.int32), model.bins).bits_per_dim


def make_sampler(config: Config, model: Flows, dataset: Dataset) -> Generate:
    """``generate(params, seed, labels, guidance_scale) -> samples``, in batches of one compiled size.

    ``temperature`` takes another one than the config. See :func:`experiments.tasks.diffusion.build.make_sampler`.
    """
    options = config.sampling

    @spread_jit
    def run(params, key, given, temperature):
        given = spread(given)
        z = temperature * spread(jax.random.normal(key, (given["labels"].shape[0], *model.shape)))
        x, _ = model.module.apply(params, z, **_named(model, given), method="inverse")
        return dataset.from_model(cast(Array, x), given)

    def all_given(labels, scale: float) -> dict[str, Any]:
        given = dict(labels) if isinstance(labels, Mapping) else conditions_for(model, dataset, labels)
        if scale:
            return given
        nulls, every = null_conditions(model), dict.fromkeys(given, 1.0)
        return jax.tree.map(np.asarray, drop_conditions(jax.random.key(0), given, nulls, every))

    def generate(
        params,
        seed: int,
        labels,
        guidance_scale: float,
        *,
        partial: PartialSamples | None = None,
        temperature: float | None = None,
    ):
        given, params = all_given(labels, guidance_scale), everywhere(params)
        spread_of_latents = np.float32(options.temperature if temperature is None else temperature)
        key = jax.random.key(seed)

        def draw(i: int, rows: np.ndarray) -> np.ndarray:
            part = jax.tree.map(lambda leaf: leaf[rows], given)
            return np.asarray(run(params, jax.random.fold_in(key, i), part, spread_of_latents))

        digest = lambda: digest_of(config.to_dict(), seed, given, params, spread_of_latents)
        samples = in_batches(draw, len(given["labels"]), options.batch_size, partial, digest)
        return check_samples(samples, f"{config.network.name}, temperature {spread_of_latents:g}")

    def trace(params, labels, guidance_scale: float) -> jax.stages.Traced:
        given = all_given(labels, guidance_scale)
        return run.trace(params, jax.random.key(0), given, np.float32(options.temperature))

    cast(Any, generate).trace, cast(Any, generate).evaluations = trace, 1
    return generate
