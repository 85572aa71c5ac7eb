"""An autoencoder of notes with a decoder for each family of instruments, from a config: network, loss, translations."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.cli.config import Config, require_field
from experiments.cli.fields import NON_NEGATIVE, Field, Section
from experiments.data.dataset import Batch, Dataset, in_blocks
from experiments.data.sound_sets import Notes
from experiments.models.run_files import EVALUATED
from experiments.tasks.task import Run
from experiments.training import check_average
from scorekit import audio
from scorekit.arguments import Count
from scorekit.networks import TranslationNetwork, reverse_gradient
from scorekit.typing import Array, Key, PyTree

FIELDS = Section(
    translation=Section(
        channels=Field(128, Count(1, 2**16), "Width of the hidden layers of encoder, decoders and classifier."),
        latent_channels=Field(16, Count(1, 2**16), "Numbers of the latent of a frame."),
        blocks=Field(3, Count(0, 1024), "Residual blocks of each of the three."),
    ),
    loss=Section(
        confusion=Field(0.3, NON_NEGATIVE, "Weight of the error of the classifier of families in the encoder's loss."),
        noise=Field(0.3, NON_NEGATIVE, "Standard deviation of the noise on latents, whose mean square is 1."),
    ),
    evaluation=Section(
        num_samples=Field(192, Count(8, 10**6), "Held-out notes that are translated."),
        shown=Field(6, Count(1, 10**6), "Notes with audio widgets."),
        ema=EVALUATED,
    ),
)
"""The sections of the config other than ``data`` and ``training``."""


def check(config: Config, dataset: Dataset) -> None:
    """Validates relations between fields; compiles nothing."""
    must, options = functools.partial(require_field, config), config.data
    must("data.name", isinstance(dataset, Notes), "a data set of notes")
    must("data.label", options.label == "family", "family: each has a decoder")
    must("data.representation.by_frames", bool(options.representation.get("by_frames")), "True: positions are frames")
    check_average(config, "evaluation.ema")


def init_params(module: TranslationNetwork, dataset: Dataset, key: Key) -> PyTree:
    """The initial parameters."""
    return jax.jit(module.init)(key, jnp.zeros((1, *dataset.shape)), jnp.zeros(1, jnp.int32))


def make_prepare(module: TranslationNetwork, dataset: Dataset):
    """``(key, batch) -> batch``: all randomness of a training step, at the global batch."""

    def prepare(key: Key, batch: Batch) -> dict[str, Array]:
        x = dataset.to_model(batch["x"])
        eps = jax.random.normal(key, (*x.shape[:2], module.latent_channels))
        return {"x": x, "label": jnp.asarray(batch["label"]), "eps": eps}

    return prepare


def make_loss(module: TranslationNetwork, confusion: float, noise: float):
    """``(params, prepared batch) -> (loss of each example, its terms)``; ``FIELDS`` explain confusion and noise."""

    def loss(params: PyTree, batch: Mapping[str, Array]):
        run: Any = functools.partial(module.apply, params)
        z = run(batch["x"], method="encode") + noise * batch["eps"]
        y = run(z, batch["label"], method="decode")
        logits = run(reverse_gradient(z, confusion), method="classify")
        squared = jnp.mean((y - batch["x"]) ** 2, axis=(1, 2))
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return squared + entropy, {"train/squared error": squared, "train/family": entropy}

    return loss


def encode(run: Run, sounds: np.ndarray) -> np.ndarray:
    """The latents of raw sounds."""
    latents = jax.jit(lambda x: run.model.apply(run.params, run.dataset.to_model(x), method="encode"))
    return np.asarray(in_blocks(latents, sounds, min(64, len(sounds))))


def decode(run: Run, z: np.ndarray, family: np.ndarray) -> np.ndarray:
    """The sounds of latents by the decoders of families ``(B,)``."""

    @jax.jit
    def sounds(z, family):
        return run.dataset.from_model(run.model.apply(run.params, z, family, method="decode"))

    return in_blocks(lambda at: sounds(z[at], family[at]), np.arange(len(z)), min(64, len(z)))


def with_phase_of(note: np.ndarray, sounds: np.ndarray) -> np.ndarray:
    """The magnitudes of the short-time Fourier transform of sounds ``(N, L)`` with the phase of other ones.

    >>> n = np.arange(1024)[None]
    >>> note = np.sin(0.3 * n)
    >>> bool(np.abs(with_phase_of(note, 0.5 * np.cos(0.3 * n)) - 0.5 * note)[:, 256:-256].max() < 1e-3)
    True
    """
    window, hop = audio.hann(256), 64
    transform = lambda x: audio.stft(jnp.asarray(x, jnp.float32), window, hop)
    spectrum = audio.from_polar(audio.magnitude(transform(sounds)), audio.phase(transform(note)))
    return np.asarray(audio.istft(spectrum, window, hop, sounds.shape[1]))
