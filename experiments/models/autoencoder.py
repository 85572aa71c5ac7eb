"""An autoencoder with a compact latent from a config: its network, its loss, its distances."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.config import Config, ConfigError, require_field, resolve
from experiments.cli.fields import NON_NEGATIVE, POSITIVE, Choices, Field, Section
from experiments.data.dataset import Batch, Dataset, in_blocks
from experiments.data.representation import check_needs_no_pitch
from experiments.models import choices
from experiments.models.devices import param_shapes
from experiments.models.run_files import EVALUATED, check_average
from scorekit import networks
from scorekit.arguments import Count
from scorekit.typing import Array, Key, PyTree

STATISTICS_LIMIT = 2000
"""Most training examples that the latents' mean and standard deviation are taken over."""

SPECTRAL = 1.0


class Latent(NamedTuple):
    """The autoencoder of a config."""

    module: networks.Autoencoder | networks.AutoencoderKL
    loss: Config
    dataset: Dataset


FIELDS = Section(
    autoencoder=Choices(choices.AUTOENCODERS, "convolutional", """
        What is trained. With ``codes``, the latent is discrete: each of its vectors is one of so many codes. The name
        "kl" is the autoencoder of latent diffusion, which learns the standard deviations of its
        latent.""", ("data_channels",)),
    loss=Section(
        sample=Field(1.0, NON_NEGATIVE, "Weight of the squared error, in units of the network's input."),
        spectral=Field(SPECTRAL, NON_NEGATIVE, "Sounds: weight of the multi-resolution STFT loss."),
        noise=Field(0.1, POSITIVE, """
            Continuous latent of "convolutional": standard deviation of the noise that is added to it in training."""),
        kl=Field(1e-2, NON_NEGATIVE, """
            Continuous latent: weight of its divergence from a standard normal, in nats per latent value."""),
        commitment=Field(0.25, NON_NEGATIVE, "Codes: weight of the term that draws latents to their codes."),
        revival=Field(0.1, NON_NEGATIVE, "Codes: weight of the term that draws unused codes to the latents."),
    ),
    evaluation=Section(
        num_samples=Field(500, Count(1), "Most test examples that distances are measured on."),
        shown=Field(8, Count(1, 10**6), "Reconstructions that are written."),
        ema=EVALUATED,
    ),
)  # fmt: skip
"""The sections of an autoencoder's config beside ``data`` and ``training``."""


def check(config: Config) -> None:
    """Validates relations between fields; compiles nothing."""
    kind = data.kind_of(config)
    require_field(config, "data.name", kind.spatial_axes(config) > 0, "a data set of images or sounds")
    check_needs_no_pitch(config)
    _module(config, 1)
    unused = "crop" in kind.sound_fields and config.loss.spectral not in (0.0, SPECTRAL)
    require_field(config, "loss.spectral", not unused, "left out: the data are no sounds")
    check_average(config, "evaluation.ema")


def _module(config: Config, data_channels: int) -> networks.Autoencoder | networks.AutoencoderKL:
    return resolve(config, "autoencoder", choices.AUTOENCODERS, data_channels=data_channels)


def build_latent(config: Config, dataset: Dataset) -> Latent:
    """Puts the parts of the config together."""
    module = _module(config, dataset.shape[-1])
    try:
        module.latent_shape(dataset.shape)
    except ValueError as error:
        raise ConfigError(f"config.autoencoder: {error}") from error
    x = jnp.zeros((1, *dataset.shape))
    param_shapes(config, "autoencoder", lambda: module.init(jax.random.key(0), x))
    return Latent(module, config.loss, dataset)


def init_params(built: Latent, seed: int) -> PyTree:
    """The initial parameters; the codes are latents of the first batch."""
    module, dataset, key = built.module, built.dataset, jax.random.key(seed)
    x = jax.jit(dataset.to_model)(dataset.batch(seed, 0, 64)["x"])
    params = jax.jit(module.init)(key, x[:1])
    if module.codes is None:
        return params
    z = np.asarray(jax.jit(module.apply, static_argnames="method")(params, x, method="encode"))
    vectors = z.reshape(-1, z.shape[-1])
    chosen = np.random.default_rng(seed).choice(len(vectors), module.codes, replace=len(vectors) < module.codes)
    return {"params": {**params["params"], "codebook": jnp.asarray(vectors[chosen])}}


def make_prepare(built: Latent):
    """``(key, batch) -> batch``: all randomness of a training step, at the global batch."""

    def prepare(key: Key, batch: Batch) -> dict[str, Array]:
        x = built.dataset.to_model(batch["x"])
        return {"x": x, "eps": jax.random.normal(key, (len(x), *built.module.latent_shape(x.shape[1:])))}

    return prepare


def make_loss(built: Latent):
    """``(params, prepared batch) -> (loss of each example, its terms)``."""
    module, weights = built.module, built.loss

    def apply(params: PyTree, x: Any, method: str) -> Any:
        return module.apply(params, x, method=method)

    def decode_loss(params: PyTree, x: Array, z: Array, rest: Array):
        """``rest``, with the distances of the decoded ``z`` from ``x``."""
        y = apply(params, z, "decode")
        squared = jnp.mean((y - x) ** 2, axis=tuple(range(1, x.ndim)))
        terms = {"squared error": squared}
        value = weights.sample * squared + rest
        perceptual = built.dataset.perceptual_loss(y, x)
        if perceptual is not None:
            terms["spectral"] = perceptual
            value += weights.spectral * perceptual
        return value, terms

    def loss(params: PyTree, batch: dict[str, Array]):
        x = batch["x"]
        if isinstance(module, networks.AutoencoderKL):
            posterior = apply(params, x, "posterior")
            return decode_loss(params, x, module.scale(posterior.sample(batch["eps"])), weights.kl * posterior.kl())
        z = apply(params, x, "encode")
        if module.codes is None:
            decoded = z + weights.noise * batch["eps"]
            rest = weights.kl * networks.fixed_noise_kl(z, weights.noise)
        else:
            codebook = params["params"]["codebook"]
            found = networks.quantise(z, codebook)
            decoded = found.values
            positions = tuple(range(1, found.index.ndim))
            rest = jnp.mean(found.codebook + weights.commitment * found.commitment, axis=positions)
            rest += weights.revival * networks.revival_loss(z, codebook, found.index)
        return decode_loss(params, x, decoded, rest)

    return loss


def make_encode(built: Latent, params: PyTree):
    """Raw examples to latents, quantised to codes where there are codes."""

    @jax.jit
    def encode(x):
        z = built.module.apply(params, built.dataset.to_model(x), method="encode")
        return built.module.apply(params, z, method="quantise")

    return encode


def statistics(encode, dataset: Dataset, batch_size: int = 50) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel of the latents of training examples."""
    x = dataset.train["x"][:STATISTICS_LIMIT]
    z = in_blocks(encode, x, min(batch_size, len(x)))
    flat = z.reshape(-1, z.shape[-1]).astype(np.float64)
    return {"mean": flat.mean(0).tolist(), "standard deviation": np.maximum(flat.std(0), 1e-6).tolist()}


def compression(built: Latent) -> dict[str, float]:
    """How much smaller the latent is: in values, and with codes in bits."""
    dataset = built.dataset
    size, latent = math.prod(dataset.shape), built.module.latent_shape(dataset.shape)
    values = math.prod(latent)
    found = {"values of an example": float(size), "values of its latent": float(values)}
    found["compression factor"] = size / values
    if built.module.codes is not None:
        bits = math.log2(built.module.codes) * math.prod(latent[:-1])
        found["bits of its codes"] = bits
        found["compression factor in bits"] = size * dataset.bits_per_value() / bits
    return found


def measure(built: Latent, params: PyTree, part: Batch, batch_size: int = 50) -> dict[str, float]:
    """Distances of reconstructions from the originals, and the scale of the latent, as means over examples.

    Root mean square errors are in units of the network's input; ``error, share of power`` is a ratio of squares. Also
    the distances of the kind of data, and the perplexity of codes.
    """
    module, dataset = built.module, built.dataset

    def apply(x: Any, method: str) -> Any:
        return module.apply(params, x, method=method)

    @jax.jit
    def run(x):
        x = dataset.to_model(x)
        z = apply(x, "encode")
        y = apply(apply(z, "quantise"), "decode")
        axes = tuple(range(1, x.ndim))
        found = {"error": jnp.mean((y - x) ** 2, axes), "power": jnp.mean(x**2, axes), **dataset.distances(y, x)}
        if module.codes is not None:
            found["index"] = networks.nearest_code(z, params["params"]["codebook"])
        return found, z

    found, z = in_blocks(run, part["x"], min(batch_size, len(part["x"])))
    error, power, index = found.pop("error"), found.pop("power"), found.pop("index", None)
    metrics = {"RMSE": float(np.sqrt(error.mean())), "error, share of power": float(error.mean() / power.mean())}
    metrics.update({name: float(values.mean()) for name, values in found.items()})
    metrics.update({"latent mean": float(z.mean()), "latent standard deviation": float(z.std())})
    if index is not None and module.codes is not None:
        counts = networks.code_counts(jnp.asarray(index), module.codes)
        metrics["perplexity of the codes"] = float(networks.perplexity(counts))
        metrics["codes in use"] = float((counts > 0).sum())
    return metrics
