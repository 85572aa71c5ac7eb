"""An autoencoder with a compact latent from a config: its fields, its network, its loss, its latents."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.choices import Choices
from experiments.cli.config import Config, ConfigError, require_field
from experiments.cli.fields import NON_NEGATIVE, POSITIVE, Field, Section
from experiments.data.dataset import Batch, Dataset, in_blocks
from experiments.models.devices import param_shapes
from experiments.models.networks import SIZES, module
from experiments.models.run_files import EVALUATED
from experiments.training import check_average
from scorekit import networks
from scorekit.arguments import Count
from scorekit.typing import Array, Key, PyTree

AUTOENCODERS = Choices(
    {"convolutional": "scorekit.networks:Autoencoder"},
    "convolutional",
    "What is trained. With ``codes``, the latent is discrete: each of its vectors is one of so many codes.",
    ("data_channels",),
    bounds=SIZES,
    adapt=module,
)

STATISTICS_LIMIT = 2000
"""Most training examples that the latents' mean and standard deviation are taken over."""

SPECTRAL = 1.0


class Latent(NamedTuple):
    """The autoencoder of a config, or a published one."""

    module: networks.Autoencoder | networks.AutoencoderKL
    loss: Config
    dataset: Dataset


FIELDS = Section(
    autoencoder=AUTOENCODERS,
    loss=Section(
        sample=Field(1.0, NON_NEGATIVE, "Weight of the squared error, in units of the network's input."),
        spectral=Field(SPECTRAL, NON_NEGATIVE, "Sounds: weight of the multi-resolution STFT loss."),
        noise=Field(0.1, POSITIVE, """
            Continuous latent: standard deviation of the noise that is added to it in training."""),
        kl=Field(1e-2, NON_NEGATIVE, """
            Continuous latent: weight of its divergence from a standard normal, in nats per latent value."""),
        commitment=Field(0.25, NON_NEGATIVE, "Codes: weight of the term that draws latents to their codes."),
        revival=Field(0.1, NON_NEGATIVE, "Codes: weight of the term that draws unused codes to the latents."),
        code_rate=Field(None, POSITIVE, """
            Codes: their learning rate as a multiple of the networks'; None is 1. Latents move faster at the beginning
            of training; codes that they leave behind are not used until they have caught up."""),
        auxiliary=Field(None, NON_NEGATIVE, """
            Several levels of codes: weight of the loss of reconstructions from the first levels alone, in the training
            of encoder and codes; None is 1. The decoder is trained on it with weight 1 in any case: with 0 it decodes
            the information that the first levels have without it."""),
    ),
    evaluation=Section(
        num_samples=Field(500, Count(1), "Most test examples that distances are measured on."),
        shown=Field(8, Count(1, 10**6), "Reconstructions that are written."),
        ema=EVALUATED,
    ),
)  # fmt: skip
"""The sections of an autoencoder's config beside ``data`` and ``training``."""


def build_latent(config: Config, dataset: Dataset) -> Latent:
    """Puts the parts of the config together, which checks how its fields fit each other and the data."""
    data.check_not_symbols(config, dataset)
    require_field(config, "data.name", dataset.axes > 0, "a data set of images or sounds")
    data.check_no_pitch(dataset)
    unused = not hasattr(dataset, "sample_rate") and config.loss.spectral not in (0.0, SPECTRAL)
    require_field(config, "loss.spectral", not unused, "left out: the data are no sounds")
    check_average(config, "evaluation.ema")
    module = AUTOENCODERS.build(config, "autoencoder", data_channels=dataset.shape[-1])
    try:
        module.latent_shape(dataset.shape)
    except ValueError as error:
        raise ConfigError(f"config.autoencoder: {error}") from error
    x = jnp.zeros((1, *dataset.shape))
    param_shapes("autoencoder", config.autoencoder.to_dict(), lambda: module.init(jax.random.key(0), x))
    return Latent(module, config.loss, dataset)


def init_params(built: Latent, seed: int) -> PyTree:
    """The initial parameters; the codes are latents of the first batch."""
    module, dataset, key = built.module, built.dataset, jax.random.key(seed)
    x = jax.jit(dataset.to_model)(dataset.batch(seed, 0, 64)["x"])
    params = jax.jit(module.init)(key, x[:1])
    if module.codes is None:
        return params
    apply, rng = jax.jit(module.apply, static_argnames="method"), np.random.default_rng(seed)
    z, books = apply(params, x, method="encode"), codebooks(params)
    for m in range(len(books)):  # the vectors of a level depend on the codes of those before
        vectors = apply(params, z, method="code_levels")[m].target.reshape(-1, z.shape[-1])
        rows = rng.choice(len(vectors), module.codes, replace=len(vectors) < module.codes)
        books = books.at[m].set(vectors[rows])
        params = {"params": {**params["params"], "codebook": books.reshape(params["params"]["codebook"].shape)}}
    return params


def codebooks(params: PyTree) -> Array:
    """The codes of each level, ``(M, K, D)``."""
    codebook = params["params"]["codebook"]
    return codebook.reshape(-1, *codebook.shape[-2:])


def num_levels(module: networks.Autoencoder | networks.AutoencoderKL) -> int:
    """The levels of the codes of an autoencoder, 0 of one without codes."""
    return len(module.levels) if isinstance(module, networks.Autoencoder) and module.codes is not None else 0


def make_prepare(built: Latent):
    """``(key, batch) -> batch``: all randomness of a training step, at the global batch."""

    def prepare(key: Key, batch: Batch) -> dict[str, Array]:
        x = built.dataset.to_model(batch["x"])
        found = {"x": x, "eps": jax.random.normal(key, (len(x), *built.module.latent_shape(x.shape[1:])))}
        if (levels := num_levels(built.module)) > 1:
            found["levels"] = jax.random.randint(jax.random.fold_in(key, 1), (len(x),), 1, levels)
        return found

    return prepare


def make_loss(built: Latent):
    """``(params, prepared batch) -> (loss of each example, its terms)``."""
    module, weights = built.module, built.loss

    def apply(params: PyTree, x: Any, method: str) -> Any:
        return module.apply(params, x, method=method)

    def decode_loss(params: PyTree, x: Array, z: Array, rest: Array | float):
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
        z = apply(params, x, "encode")
        if module.codes is None:
            rest = weights.kl * networks.fixed_noise_kl(z, weights.noise)
            return decode_loss(params, x, z + weights.noise * batch["eps"], rest)
        levels, rest = apply(params, z, "code_levels"), 0.0
        for book, level in zip(codebooks(params), levels, strict=True):
            positions = tuple(range(1, level.index.ndim))
            rest += jnp.mean(level.codebook + weights.commitment * level.commitment, axis=positions)
            rest += weights.revival * networks.revival_loss(level.target, book, level.index)
        value, terms = decode_loss(params, x, levels[-1].values, rest)
        if len(levels) == 1:
            return value, terms
        of_first = jnp.stack([level.values for level in levels])[batch["levels"] - 1, jnp.arange(len(x))]
        fixed = jax.lax.stop_gradient(of_first)
        weight = 1.0 if weights.auxiliary is None else weights.auxiliary
        auxiliary, _ = decode_loss(params, x, fixed + weight * (of_first - fixed), 0.0)
        return value + auxiliary, {**terms, "first levels": auxiliary}

    return loss


def make_encode(built: Latent, params: PyTree):
    """Raw examples to latents, quantised to codes where there is one level of codes.

    The codes of several levels cannot be found again from the sum of their vectors.
    """

    @jax.jit
    def encode(x):
        z = built.module.apply(params, built.dataset.to_model(x), method="encode")
        return built.module.apply(params, z, method="quantise") if num_levels(built.module) == 1 else z

    return encode


def statistics(encode, dataset: Dataset, batch_size: int = 50) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel of the latents of training examples."""
    x = dataset.train["x"][:STATISTICS_LIMIT]
    z = in_blocks(encode, x, min(batch_size, len(x)))
    flat = z.reshape(-1, z.shape[-1]).astype(np.float64)
    return {"mean": flat.mean(0).tolist(), "standard deviation": np.maximum(flat.std(0), 1e-6).tolist()}
