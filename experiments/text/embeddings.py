"""Embeddings of pictures to draw from: those that a prior makes of captions, and those of pictures in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps

from experiments.cli.config import Config, ConfigError
from experiments.data import captions
from experiments.data.embeddings import EMBEDDING, are_examples
from experiments.models.contrastive import Encoder
from experiments.models.embedded import encoder_of
from experiments.text.prompts import Prompt
from experiments.text.stages import Stage, conditions, open_stages
from scorekit import data
from scorekit.embeddings import closest, slerp, text_difference

CANDIDATES, _OTHER = 2, 2**31  # of a prior; added to the seed, so that decoders have other noise
"""Embeddings that a prior draws for each picture, of which the closest to the caption is kept."""


def check_prior(config: Config, name: str, decoder: Config, decoder_name: str, written: bool) -> None:
    """Raises an error unless one run draws embeddings from captions that another decodes; nothing is loaded."""
    if not are_examples(config):
        raise ConfigError(f"--prior={name}: must draw embeddings (config.data.embeddings.as_examples), it draws "
                          f"{config.data.name}")  # fmt: skip
    if not captions.wanted(config):
        raise ConfigError(f"--prior={name}: must have captions as a condition, by config.data.vector.name=caption; it "
                          f"is conditioned on {captions.describes(config)}")  # fmt: skip
    check_decoder(decoder, decoder_name)
    if not written:
        raise ConfigError("--caption=… must be given, or --captions_file, with --prior")


def check_decoder(config: Config, name: str) -> None:
    """Raises an error unless a run draws pictures from embeddings."""
    if config.data.vector.name != EMBEDDING:
        raise ConfigError(f"--stages: {name} must be conditioned on the embedding of a picture, by "
                          f"config.data.vector.name=embedding; it is on {captions.describes(config)}")  # fmt: skip


def check_same(prior: Encoder, decoder: Encoder, given: str, decoder_name: str) -> None:
    """Raises an error unless a prior and a decoder have the embeddings of the same encoder."""
    if prior.features != decoder.features:
        raise ConfigError(f"{given}: draws embeddings of {prior.features} values, {decoder_name} decodes those of "
                          f"{decoder.features}")  # fmt: skip
    alike = jax.tree.structure(prior.params) == jax.tree.structure(decoder.params)
    same = not alike or jax.tree.map(
        lambda a, b: a.shape == b.shape and np.array_equal(a, b), prior.params, decoder.params
    )
    if not alike or not all(jax.tree.leaves(same)):
        raise ConfigError(f"{given}: draws embeddings of another encoder than {decoder_name} decodes; train both with "
                          f"one config.data.embeddings.encoder")  # fmt: skip


def from_captions(
    config: Config, name: str, decoder: Stage, seed: int, labels: np.ndarray, prompts: Sequence[Prompt], negative: Any
) -> np.ndarray:
    """Unit vectors ``(B, D)`` that a prior draws from captions, of two each the closer to the caption.

    Args:
      config: of the prior.
      name: its folder.
      decoder: what draws pictures from them.
      seed: of the noise.
      labels: ``(B,)``.
      prompts: one for each; of several parts, the target is their weighted sum.
      negative: a caption to guide away from, or None.

    Raises:
      ConfigError: if the decoder has the embeddings of another encoder.
    """
    prior, encoder = open_stages([config], [name])[0], encoder_of(config)
    check_same(encoder, encoder_of(decoder.config), f"--prior={name}", decoder.name)
    classes = [one.run.dataset.num_classes for one in (prior, decoder)]
    if classes[0] != classes[1]:
        raise ConfigError(f"--prior={name}: has {classes[0]} classes, {decoder.name} has {classes[1]}; train both with "
                          f"one config.data.label")  # fmt: skip
    repeated = [prompt for prompt in prompts for _ in range(CANDIDATES)]
    given = conditions(prior, np.repeat(labels, CANDIDATES), repeated, negative, None, None)
    found = prior.run.generate(prior.run.params, (seed + _OTHER) % 2**32, given, prior.config.sampling.guidance_scale)
    candidates = normalised(found.reshape(len(prompts), CANDIDATES, -1))
    known = sorted({text for prompt in prompts for text, _ in prompt.parts})
    of_text = dict(zip(known, encoder.embed_texts(known), strict=True))
    targets = [sum(weight * of_text[text] for text, weight in prompt.parts) for prompt in prompts]
    return np.asarray(closest(jnp.asarray(candidates), jnp.asarray(np.stack(targets), jnp.float32)))


def normalised(x: np.ndarray) -> np.ndarray:
    """Vectors ``(..., D)`` divided by their norm.

    >>> normalised(np.array([3.0, 4.0])).tolist()
    [0.6, 0.8]
    """
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def between(ends: np.ndarray, count: int) -> np.ndarray:
    """``count`` unit vectors from the first of two to the second, at equal distances on the sphere ``(count, D)``.

    >>> between(np.eye(2, dtype=np.float32), 3).round(3).tolist()
    [[1.0, 0.0], [0.7070000171661377, 0.7070000171661377], [0.0, 1.0]]
    """
    first, last = jnp.repeat(jnp.asarray(ends)[:, None], count, axis=1)
    return np.asarray(slerp(first, last, np.linspace(0.0, 1.0, count)))


def edited(picture: np.ndarray, texts: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """An embedding moved by what the second of two texts has that the first has not, a row for each weight."""
    before, after = jnp.asarray(texts)
    each = lambda x: jnp.tile(x, (len(weights), 1))
    return np.asarray(text_difference(each(picture), each(before), each(after), np.asarray(weights, np.float32)))


def read_pictures(paths: Sequence[str], size: int, mode: str) -> np.ndarray:
    """Pictures ``(N, size, size, C)`` in [-1, 1]: the middle square of each file, white behind what is transparent.

    Raises:
      ConfigError: if there is no such file, or it is no picture.
    """
    found = []
    for path in paths:
        file = Path(path).expanduser()
        if not file.is_file():
            raise ConfigError(f"--picture={path}: there is no such file")
        try:
            with Image.open(file) as opened:
                picture = opened.convert("RGBA")
        except (OSError, SyntaxError, ValueError) as error:
            raise ConfigError(f"--picture={path}: must be a picture: {error}") from error
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert(mode)
        x = np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS))
        found.append(x.reshape(size, size, -1))
    return np.asarray(data.to_unit(np.stack(found), 256))
