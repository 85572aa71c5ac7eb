"""An autoencoder with a compact latent, its loss and its distances, put together from a config."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.models import choices as build
from experiments.cli.config import Config, ConfigError, check_config, choice, require
from experiments.configs import base_latent
from experiments.data.dataset import Batch, Dataset, kind_of
from scorekit import audio
from scorekit.networks import Autoencoder, code_counts, fixed_noise_kl, nearest_code, perplexity, quantise, revival_loss
from scorekit.typing import Array, Key, PyTree

MOST = 2000
"""Training examples that the latents' mean and standard deviation are taken over, at most."""
SILENCE = 1e-3
"""Sounds whose root mean square is below this have no spectral loss: it is a ratio to the reference."""


class Latent(NamedTuple):
    """What a config means, ready to use; ``to_sound`` and ``sample_rate`` are None for what is not a sound."""

    module: Autoencoder
    loss: Config
    to_sound: Callable[[Array], Array] | None
    sample_rate: int | None


def check(config: Config) -> None:
    """Refuses a config that cannot be run, before anything is compiled."""
    if "autoencoder" not in config:
        raise ConfigError("config.autoencoder: must be there; a model is trained with experiments.train")
    check_config(config, base_latent.get_config())
    if kind_of(config.data.name) == "points":
        raise ConfigError(f"config.data.name={config.data.name}: must be a data set of images or sounds")
    module = build.build_autoencoder(config, 1)
    require(module.codes is None or module.codes > 1, "autoencoder.codes", module.codes, "at least 2, or None")
    build.check_training(config)
    for field, value in config.loss.items():
        require(value >= 0, f"loss.{field}", value, "at least 0")
    require(config.loss.noise > 0, "loss.noise", config.loss.noise, "above 0")
    choice("evaluation.ema", config.evaluation.ema, (*map(str, config.training.ema_decays), "none"))
    for field in ("num_samples", "shown"):
        require(config.evaluation[field] >= 1, f"evaluation.{field}", config.evaluation[field], "at least 1")


def build_latent(config: Config, dataset: Dataset) -> Latent:
    """Puts the pieces of the config together."""
    module = build.build_autoencoder(config, dataset.shape[-1])
    try:
        module.latent_shape(dataset.shape)
    except ValueError as error:
        raise ConfigError(f"config.autoencoder: {error}") from error
    sounds = dataset.sample_rate is not None
    return Latent(module, config.loss, dataset.to_sound if sounds else None, dataset.sample_rate)


def init_params(built: Latent, dataset: Dataset, seed: int) -> PyTree:
    """The parameters before training; the codes are latents of the first batch."""
    module, key = built.module, jax.random.key(seed)
    x = jax.jit(dataset.to_model)(dataset.batch(seed, 0, 64)["x"])
    params = jax.jit(module.init)(key, x[:1])
    if module.codes is None:
        return params
    z = np.asarray(jax.jit(module.apply, static_argnames="method")(params, x, method="encode"))
    vectors = z.reshape(-1, z.shape[-1])
    chosen = np.random.default_rng(seed).choice(len(vectors), module.codes, replace=len(vectors) < module.codes)
    return {"params": {**params["params"], "codebook": jnp.asarray(vectors[chosen])}}


def apply(module: Autoencoder, params: PyTree, x: Any, method: str) -> Any:
    """``encode``, ``decode`` or ``snap``."""
    return module.apply(params, x, method=method)


def make_prepare(built: Latent, dataset: Dataset):
    """``(key, batch) -> batch``: all the randomness of a training step, at the global batch."""

    def prepare(key: Key, batch: Batch) -> dict[str, Array]:
        x = dataset.to_model(batch["x"])
        return {"x": x, "eps": jax.random.normal(key, (len(x), *built.module.latent_shape(x.shape[1:])))}

    return prepare


def make_loss(built: Latent):
    """``(params, prepared batch) -> (per-example loss, per-example parts of it)``."""
    module, weights = built.module, built.loss

    def loss(params: PyTree, batch: dict[str, Array]):
        x = batch["x"]
        z = apply(module, params, x, method="encode")
        if module.codes is None:
            read = z + weights.noise * batch["eps"]
            rest = weights.kl * fixed_noise_kl(z, weights.noise)
        else:
            codebook = params["params"]["codebook"]
            found = quantise(z, codebook)
            read = found.values
            places = tuple(range(1, found.index.ndim))
            rest = jnp.mean(found.codebook + weights.commitment * found.commitment, axis=places)
            rest += weights.revival * revival_loss(z, codebook, found.index)
        y = apply(module, params, read, method="decode")
        squared = jnp.mean((y - x) ** 2, axis=tuple(range(1, x.ndim)))
        parts = {"squared error": squared}
        value = weights.sample * squared + rest
        if built.to_sound is not None:
            parts["spectral"] = _spectral(built.to_sound(y), built.to_sound(x), built.sample_rate)
            value += weights.spectral * parts["spectral"]
        return value, parts

    return loss


def _spectral(y: Array, x: Array, sample_rate: int | None) -> Array:
    """The multi-resolution STFT loss of each sound, 0 for silent ones."""
    assert sample_rate is not None
    heard = jnp.sqrt(jnp.mean(x**2, axis=-1)) > SILENCE
    tone = jnp.ones_like(x).at[:, ::2].set(-1.0)
    reference = jnp.where(heard[:, None], x, tone)
    return jnp.where(heard, audio.multi_resolution_stft_loss(y, reference, sample_rate), 0.0)


def held_out_loss(built: Latent, dataset: Dataset):
    """``params -> loss`` on up to 64 test sounds or 1,000 test images, always at the same noise."""
    few = 1000 if dataset.sample_rate is None else 64
    prepared = jax.jit(make_prepare(built, dataset))(jax.random.key(0), {"x": dataset.test["x"][:few]})
    loss = make_loss(built)
    run = jax.jit(lambda params, prepared: loss(params, prepared)[0].mean())  # as a constant XLA would compute with it
    return lambda params: float(run(params, prepared))


def in_batches(run: Callable[[Any], Any], x: np.ndarray, size: int) -> Any:
    """``run`` on rows of ``x``, ``size`` at a time and always so many; trees of numpy arrays, joined."""
    parts = []
    for start in range(0, len(x), size):
        part = x[start : start + size]
        padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        kept = len(part)
        parts.append(jax.tree.map(lambda leaf, n=kept: np.asarray(leaf)[:n], run(padded)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def make_encode(built: Latent, dataset: Dataset, params: PyTree):
    """Stored examples to latents, rounded to codes where there are codes."""
    module = built.module

    @jax.jit
    def encode(x):
        z = apply(module, params, dataset.to_model(x), method="encode")
        return apply(module, params, z, method="snap")

    return encode


def standard(encode, dataset: Dataset, batch_size: int = 50) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel of the latents of training examples."""
    x = dataset.train["x"][:MOST]
    z = in_batches(encode, x, min(batch_size, len(x)))
    flat = z.reshape(-1, z.shape[-1]).astype(np.float64)
    return {"mean": flat.mean(0).tolist(), "standard deviation": np.maximum(flat.std(0), 1e-6).tolist()}


def compression(built: Latent, dataset: Dataset) -> dict[str, float]:
    """How much smaller the latent is: in numbers, and with codes in bits against 16 bits a sample or 8 a pixel."""
    size, latent = math.prod(dataset.shape), built.module.latent_shape(dataset.shape)
    found = {"numbers in one": float(size), "numbers of its latent": float(math.prod(latent))}
    found["compression factor"] = size / math.prod(latent)
    if built.module.codes is not None:
        bits = math.log2(built.module.codes) * math.prod(latent[:-1])
        found["bits of its codes"] = bits
        depth = 16.0 if dataset.sample_rate is not None else math.log2(dataset.levels or 256)
        found["compression factor in bits"] = size * depth / bits
    return found


def measure(built: Latent, dataset: Dataset, params: PyTree, part: Batch, batch_size: int = 50) -> dict[str, float]:
    """Distances of reconstructions from what was encoded, and the scale of the latent, as means over examples.

    Root mean square errors are in units of what the network sees; ``error, share of power`` is a ratio of squares. Of
    sounds also the log-spectral distance in dB and the multi-resolution STFT loss; of codes their perplexity.
    """
    module = built.module

    @jax.jit
    def run(x):
        x = dataset.to_model(x)
        z = apply(module, params, x, method="encode")
        snapped = apply(module, params, z, method="snap")
        y = apply(module, params, snapped, method="decode")
        axes = tuple(range(1, x.ndim))
        found = {"error": jnp.mean((y - x) ** 2, axes), "power": jnp.mean(x**2, axes)}
        if built.to_sound is not None and built.sample_rate is not None:
            ours, theirs = built.to_sound(y), built.to_sound(x)
            found["log-spectral distance, dB"] = audio.log_spectral_distance(ours, theirs, built.sample_rate)
            found["multi-resolution STFT loss"] = _spectral(ours, theirs, built.sample_rate)
        if module.codes is not None:
            found["index"] = nearest_code(z, params["params"]["codebook"])
        return found, z

    found, z = in_batches(run, part["x"], min(batch_size, len(part["x"])))
    error, power, index = found.pop("error"), found.pop("power"), found.pop("index", None)
    numbers = {"RMSE": float(np.sqrt(error.mean())), "error, share of power": float(error.mean() / power.mean())}
    numbers.update({name: float(values.mean()) for name, values in found.items()})
    numbers.update({"latent mean": float(z.mean()), "latent standard deviation": float(z.std())})
    if index is not None and module.codes is not None:
        counts = code_counts(jnp.asarray(index), module.codes)
        numbers["perplexity of the codes"] = float(perplexity(counts))
        numbers["codes in use"] = float((counts > 0).sum())
    return numbers
