"""Models of sequences of codes from a config: autoregressive, or discrete diffusion with masks or uniform noise."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments import data
from experiments.cli.choices import Choices
from experiments.cli.config import Config, choice, require, require_field
from experiments.cli.fields import FRACTION, Field, Section
from experiments.data.symbols import CODINGS, ORDERS, Symbols
from experiments.models.networks import CAUSAL, SIZES, module
from scorekit import autoregressive as ar
from scorekit import discrete, times
from scorekit.arguments import Between, OneOf
from scorekit.discrete import TokenDenoiser
from scorekit.networks import drop_conditions
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import Array, Key, PyTree

NETWORKS = Choices(
    {
        **CAUSAL,
        "pixel_cnn": "scorekit.networks:PixelCNN",
        "dit": "scorekit.networks:DiT",
        "wavenet": "scorekit.networks:WaveNet",
    },
    "causal_transformer",
    """What is trained: a causal network of an autoregressive model, "dit" or "wavenet" of a diffusion, with an input
    channel for each symbol and the mask.""",
    ("outputs", "num_codes", "num_classes", "vector_size", "map_size", "map_shape", "token_size"),
    bounds=SIZES,
    adapt=lambda kind: module(kind, *(["shifted"] if kind.__name__ == "PixelCNN" else [])),
)
CAUSAL_NETWORKS = ("causal_transformer", "causal_wavenet", "pixel_cnn")

SCHEDULES = Choices(
    {
        "cosine": discrete.schedules.Cosine,
        "linear": discrete.schedules.Linear,
        "log_linear": discrete.schedules.LogLinear,
        "polynomial": discrete.schedules.Polynomial,
    },
    None,
    "Diffusion: the probability alpha(t) that a symbol is as in the data; None is linear.",
    bounds={"power": Between(0, 1024, "low")},
)


class Sequences(NamedTuple):
    """What a config describes.

    Attributes:
      module: the network: causal, or one that sees all positions.
      num_codes: size of the vocabulary.
      length: positions of a sequence.
      num_classes: classes; label ``num_classes`` is the null token.
      positions: coordinates of each position ``(L, P)``, a map of the network; None for none.
      process: the noise of a diffusion; None for an autoregressive model.
      end: the code that nothing else follows; None for none.
      condition: codes of coarser levels to further channels of the map, ``(B, L, C)``; None without any.
    """

    module: nn.Module
    num_codes: int
    length: int
    num_classes: int
    positions: np.ndarray | None
    process: discrete.Process | None
    end: int | None = None
    condition: Callable[[Array], Array] | None = None


FIELDS = Section(
    model=Field("autoregressive", OneOf("autoregressive", "masked", "uniform"), """
        "autoregressive": one symbol after the other; "masked" or "uniform": diffusion of all of them."""),
    symbols=CODINGS,
    order=ORDERS,
    network=NETWORKS,
    schedule=SCHEDULES,
    loss=Section(
        label_dropout=Field(0.1, FRACTION, """
            The class is replaced by the null token in this share of the examples, for guidance."""),
    ),
)  # fmt: skip
"""The sections of a config of sequences beside ``data``, ``training``, ``sampling`` and ``evaluation``."""


def is_diffusion(config: Config) -> bool:
    """Whether the config is of a diffusion."""
    return config.model != "autoregressive"


def check(config: Config, dataset: Symbols) -> None:
    """Validates relations between fields; no rows are read."""
    must = functools.partial(require_field, config)
    fitting = [name for name in NETWORKS if (name in CAUSAL_NETWORKS) != is_diffusion(config)]
    allowed = f"{' or '.join(fitting)} for config.model={config.model}"
    must("network.name", config.network.name in fitting, allowed)
    of_codes, of_samples = (config.symbols.name == name for name in ("codes", "mu_law"))
    allowed = "the folder of an autoencoder with codes" if of_codes else "None without config.symbols.name=codes"
    must("latents", bool(config.latents) == of_codes, allowed)
    allowed = "None for symbols.name=mu_law, which are codes of the samples"
    chosen = config.data.representation.name if "representation" in config.data else None
    require(not of_samples or chosen is None, "data.representation.name", chosen, allowed)
    codings = getattr(dataset.inner, "codings", None) or tuple(name for name in CODINGS if name != "roll")
    must("symbols.name", config.symbols.name in codings, f"{' or '.join(codings)} for data.name={config.data.name}")
    for field, value in config.schedule.items():
        allowed = "None for config.model=autoregressive, which has no noise"
        must(f"schedule.{field}", value is None or is_diffusion(config), allowed)
    build_process(config, 2)
    _network(config, 2, 10, 4, None)


def build_process(config: Config, num_codes: int) -> discrete.Process | None:
    """The forward process of a diffusion, None for an autoregressive model."""
    if not is_diffusion(config):
        return None
    name = choice("schedule.name", config.schedule.name or "linear", SCHEDULES)
    schedule = SCHEDULES.call(config, "schedule", f"schedule.name={name}", name)
    make = discrete.absorbing if config.model == "masked" else discrete.uniform
    return make(num_codes, schedule)


def _network(config: Config, num_codes: int, num_classes: int, length: int, features: int | None):
    """The network, with a map of so many channels."""
    supplied: dict[str, Any] = {"num_classes": num_classes}
    if is_diffusion(config):
        supplied["map_shape"] = None if features is None else (length, features)
    else:
        supplied |= {"outputs": num_codes, "num_codes": num_codes, "map_size": features}
    unsupplied = {name: None for name in NETWORKS.supplied if name not in supplied}
    return NETWORKS.build(config, "network", **supplied, **unsupplied)


def load_data(config: Config) -> Symbols:
    """The data of a config as sequences of codes."""
    inner = data.load(config)
    coding = CODINGS.build(config, "symbols", dataset=inner)
    return Symbols(inner, coding, ORDERS.build(config, "order", grid=coding.grid))


def build_model(config: Config, dataset: Symbols) -> Sequences:
    """Puts the parts of the config together."""
    positions, codes, (length,) = dataset.positions, dataset.coding.num_codes, dataset.shape
    features, condition = 0 if positions is None else positions.shape[1], dataset.condition
    if condition is not None:
        features += jax.eval_shape(condition, jax.ShapeDtypeStruct((1, dataset.coding.given), jnp.int32)).shape[-1]
    module = _network(config, codes, dataset.num_classes, length, features or None)
    process, end = build_process(config, codes), dataset.coding.end
    return Sequences(module, codes, length, dataset.num_classes, positions, process, end, condition)


def init_params(model: Sequences, key: Key) -> PyTree:
    """The initial parameters."""
    if model.process is None:
        return jax.jit(model.module.init)(key, jnp.zeros((1, model.length), jnp.int32))
    x = jnp.zeros((1, model.length, model.process.num_states))
    return jax.jit(model.module.init)(key, x, jnp.zeros(1), jnp.zeros(1, jnp.int32))


def null_labels(model: Sequences, labels: Array) -> Array:
    """The null token for each example."""
    return jnp.full_like(labels, model.num_classes)


def map_of(model: Sequences, batch: Mapping[str, Array]) -> Array | None:
    """The codes of coarser levels of a batch, ``given``, as a condition of the network; None without any."""
    return None if model.condition is None else model.condition(jnp.asarray(batch["given"]))


def _map(model: Sequences, batch: int, dense_map: Array | None) -> Array | None:
    """The coordinates, and the map of the codes of coarser levels, as a condition of the network."""
    if model.positions is None:
        return dense_map
    positions = jnp.broadcast_to(jnp.asarray(model.positions), (batch, *model.positions.shape))
    return positions if dense_map is None else jnp.concatenate([positions, dense_map], axis=-1)


_NEVER = -1e5
"""A logit whose probability is 0 in float32."""


def _only(end: int, where: Array, logits: Array) -> Array:
    """Logits ``(..., V)`` of the end alone at the positions ``where``, elsewhere as they are."""
    certain = jnp.where(jnp.arange(logits.shape[-1]) == end, 0.0, _NEVER)
    return jnp.where(where[..., None], certain, logits)


def _after_end(end: int | None, x: Array, logits: Array) -> Array:
    """Logits of all positions ``(B, L, V)``, after an end of the end alone."""
    return logits if end is None else _only(end, jnp.pad(x[:, :-1] == end, [(0, 0), (1, 0)]), logits)


@pytree_dataclass
class _Ended:
    """A model of codes that nothing but the end follows once it has come: what is filled up takes no bits."""

    model: ar.NetworkModel
    end: int = static()

    @property
    def conditional(self):
        return self.model.conditional

    def outputs(self, x):
        return _after_end(self.end, x, self.model.outputs(x))

    def init_state(self, batch, length):
        return self.model.init_state(batch, length)

    def step(self, state, previous):
        logits, after = self.model.step(state, previous)
        return _only(self.end, (state[0] > 0) & (previous == self.end), logits), after


def conditionals(
    model: Sequences, params: PyTree, labels: Array, batch: int | None = None, dense_map: Array | None = None
) -> ar.SequenceModel:
    """The autoregressive model of these classes ``(B,)``, or of one class for ``batch`` sequences."""
    family, batch = ar.Categorical(num_codes=model.num_codes), len(labels) if batch is None else batch
    dense_map = _map(model, batch, dense_map)
    found = ar.model_from_network(model.module, params, family, labels=labels, dense_map=dense_map)
    return found if model.end is None else _Ended(model=found, end=model.end)


def token_denoiser(model: Sequences, params: PyTree, labels: Array, dense_map: Array | None = None) -> TokenDenoiser:
    """The denoiser of a diffusion for these classes ``(B,)``; the network is called with the noise ``4 sigma(t)``."""
    process = model.process
    assert process is not None

    def logits(params, labels, dense_map, z_t, t):
        states = jax.nn.one_hot(z_t, process.num_states) * np.sqrt(process.num_states)
        noise = jnp.broadcast_to(4.0 * process.schedule.sigma(t), z_t.shape[:1])
        dense_map = _map(model, len(labels), dense_map)
        found = jnp.asarray(model.module.apply(params, states, noise, labels, dense_map=dense_map))
        return found if model.end is None or process.mask is None else _possible(model.end, process.mask, z_t, found)

    return discrete.denoiser_from_network(Partial(logits, params, labels, dense_map), process)


def _possible(end: int, mask: int, z_t: Array, logits: Array) -> Array:
    """Logits ``(B, L, V)`` given codes that are not masked: only the end follows an end, and none is before a code."""
    is_end = z_t == end
    after_end = jnp.cumsum(is_end, axis=1) > 0
    codes = jnp.cumsum(((z_t != mask) & ~is_end)[:, ::-1], axis=1)[:, ::-1] > 0
    never = jnp.where((jnp.arange(logits.shape[-1]) == end) & codes[..., None], _NEVER, logits)
    return _only(end, after_end & ~codes, never)


def make_prepare(model: Sequences, dataset: Symbols, label_dropout: float | None = None):
    """``(key, batch) -> batch``: all randomness of a training step, at the global batch.

    Args:
      label_dropout: the probability of dropping the class, for training; by default it is not dropped, and the dropout
        of the network is off.
    """
    dropout = label_dropout is not None and getattr(model.module, "dropout", 0.0) > 0
    rates = {"labels": label_dropout or 0.0}

    def prepare(key, batch):
        for_dropout, for_times, for_noise = jax.random.split(key, 3)
        x = dataset.to_model(batch["x"])
        given, null = {"labels": jnp.asarray(batch["label"])}, {"labels": jnp.int32(model.num_classes)}
        found = {"x": x, **drop_conditions(for_dropout, given, null, rates)}
        if model.condition is not None:
            found["map"] = map_of(model, batch)
        if dropout:
            found["dropout"] = jax.random.bits(jax.random.fold_in(key, 3), x.shape[:1], "uint32")
        if model.process is None:
            return found
        drawn = times.draw(for_times, times.Uniform(), model.process.schedule, len(x))
        return {**found, "z": discrete.perturb(for_noise, model.process, x, drawn.t), **drawn._asdict()}

    return prepare


def _log_prob(model: Sequences, params: PyTree, batch: Mapping[str, Array]) -> Array:
    """Log-probabilities of an autoregressive model, nats ``(B,)``; where the batch has seeds, with dropout of each."""
    if "dropout" not in batch:
        return ar.log_prob(conditionals(model, params, batch["labels"], dense_map=batch.get("map")), batch["x"])

    def one(seed, label, x, dense_map):
        rngs, dense_map = {"dropout": jax.random.key(seed)}, _map(model, 1, dense_map)
        outputs = model.module.apply(params, x[None], labels=label[None], dense_map=dense_map, rngs=rngs)
        outputs = _after_end(model.end, x[None], jnp.asarray(outputs))
        return jnp.sum(ar.Categorical(num_codes=model.num_codes).log_prob(outputs, x[None]))

    maps = batch["map"][:, None] if "map" in batch else None
    return jax.vmap(one)(batch["dropout"], batch["labels"], batch["x"], maps)


def make_loss(model: Sequences):
    """``(params, prepared batch) -> (loss of each example, auxiliary values)``: nats per symbol, exact or a bound."""

    def loss(params, batch):
        x = batch["x"]
        if model.process is None:
            value = -_log_prob(model, params, batch)
        else:
            drawn = times.Times(batch["t"], batch["weight"])
            denoiser = token_denoiser(model, params, batch["labels"], batch.get("map"))
            value, _ = discrete.token_loss_at(denoiser, model.process, x, batch["z"], drawn)
        return value / model.length, {}

    return loss
