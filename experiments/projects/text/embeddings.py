"""Embeddings of images to draw from: made of captions by a prior, or of images in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.data import are_embeddings, describe_conditions, on_captions
from experiments.data.conditions import EMBEDDING
from experiments.models import run_files
from experiments.projects.text.prompts import Prompt
from experiments.projects.text.stages import Cascade, Embedded, Stage, columns, conditions, open_stages
from experiments.tasks.contrastive.embeddings import Encoder, encoder_of
from scorekit import data
from scorekit.losses.contrastive import closest, slerp, text_difference

CANDIDATES, _OTHER = 2, 2**31  # of a prior; added to the seed, so that decoders have other noise
"""Embeddings that a prior draws for each image, of which the closest to the caption is kept."""
OPPOSITE = 1e-3
"""Below this norm of the sum of two unit vectors, float32 does not know the arc between them."""


def check_prior(cascade: Cascade) -> None:
    """Raises an error unless the prior, if any, draws embeddings from captions that are decoded; nothing is loaded."""
    config, name = cascade.prior_config, cascade.prior
    if config is None:
        return
    if not are_embeddings(config):
        raise ConfigError(
            f"--prior={name}: must draw embeddings (config.conditions.embeddings.as_examples), it draws "
            f"{config.data.name}"
        )
    if not on_captions(config):
        raise ConfigError(
            f"--prior={name}: must have captions as a condition, by config.conditions.vector.name=caption; it "
            f"is conditioned on {describe_conditions(config)}"
        )
    check_decoder(cascade.configs[0], cascade.names[0])
    run_files.check_same_data(config, cascade.configs[0], f"--prior={name}", cascade.names[0], ("label",))


def check_decoder(config: Config, name: str) -> None:
    """Raises an error unless a run draws images from embeddings."""
    if config.conditions.vector.name != EMBEDDING:
        raise ConfigError(
            f"--stages: {name} must be conditioned on the embedding of an image, by "
            f"config.conditions.vector.name=embedding; it is on {describe_conditions(config)}"
        )


class Prior(NamedTuple):
    """The opened run of a prior, and the encoder whose embeddings it draws."""

    stage: Stage
    encoder: Encoder


def open_prior(cascade: Cascade, decoder: Stage) -> Prior | None:
    """Opens the prior of a decoder, if the cascade has one."""
    if cascade.prior_config is None:
        return None
    config, name = cascade.prior_config, str(cascade.prior)
    (stage,) = open_stages([config], [name])
    ours, theirs = (one.run.dataset for one in (stage, decoder))
    if ours.encoder != theirs.encoder:
        raise ConfigError(
            f"--prior={name}: draws embeddings of another encoder than {decoder.name} decodes; train "
            f"both with one config.conditions.embeddings.encoder"
        )
    if ours.num_classes != theirs.num_classes:
        raise ConfigError(
            f"--prior={name}: has {ours.num_classes} classes, {decoder.name} has {theirs.num_classes}; "
            f"train both with one config.data.label"
        )
    return Prior(stage, encoder_of(config, name))


def from_captions(
    prior: Prior, seed: int, labels: np.ndarray, prompts: Sequence[Prompt], negative: str | None, typed: str | None
) -> Embedded:
    """Embeddings that a prior draws from each caption alone, of two each the closer to the caption.

    All captions of an image, the negative one too, have the same noise. ``typed`` as for :func:`stages.conditions`.
    """
    draw = lambda texts: _from_texts(prior, seed, labels, texts, typed)
    parts = [draw(texts) for texts in columns(prompts)]
    return Embedded(parts, None if negative is None else draw([negative] * len(labels)))


def _from_texts(prior: Prior, seed: int, labels: np.ndarray, texts: Sequence[str], typed: str | None) -> np.ndarray:
    stage, repeated = prior.stage, [Prompt(text, ((text, 1.0),)) for text in texts for _ in range(CANDIDATES)]
    given = conditions(stage, np.repeat(labels, CANDIDATES), repeated, None, None, None, typed=typed)
    scale = stage.config.sampling.guidance_scale
    drawn = stage.run.generate(stage.run.params, (seed + _OTHER) % 2**32, given, scale)
    candidates = drawn.reshape(len(texts), CANDIDATES, -1)
    candidates = candidates / np.linalg.norm(candidates, axis=-1, keepdims=True)
    known = sorted(set(texts))
    of_text = dict(zip(known, prior.encoder.embed_texts(known, typed), strict=True))
    targets = np.stack([of_text[text] for text in texts])
    return np.asarray(closest(jnp.asarray(candidates, jnp.float32), jnp.asarray(targets, jnp.float32)))


def between(ends: np.ndarray, count: int) -> np.ndarray:
    """``count`` unit vectors from the first of two to the second, at equal distances on the sphere ``(count, D)``.

    >>> between(np.eye(2, dtype=np.float32), 3).round(3).tolist()
    [[1.0, 0.0], [0.7070000171661377, 0.7070000171661377], [0.0, 1.0]]
    """
    _check_arc(ends[0], ends[1], "--image: the embeddings of the two images")
    first, last = jnp.repeat(jnp.asarray(ends)[:, None], count, axis=1)
    return np.asarray(slerp(first, last, np.linspace(0.0, 1.0, count)))


def edited(image: np.ndarray, texts: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """An embedding moved by the difference of the second text from the first, a row for each weight."""
    difference = texts[1] - texts[0]
    length = float(np.linalg.norm(difference))
    if length < OPPOSITE:
        raise ConfigError("--after: must be a caption of another embedding than --before")
    _check_arc(image, difference / length, "--image: its embedding and the difference of --before and --after")
    before, after = jnp.asarray(texts)
    each = lambda x: jnp.tile(x, (len(weights), 1))
    return np.asarray(text_difference(each(image), each(before), each(after), np.asarray(weights, np.float32)))


def _check_arc(start: np.ndarray, end: np.ndarray, given: str) -> None:
    if not np.linalg.norm(start + end) >= OPPOSITE:
        raise ConfigError(
            f"{given} must not be opposite, their inner product is {float(start @ end):.6f}: no arc "
            f"between them is the shortest"
        )


def read_images(paths: Sequence[str], size: int, mode: Literal["RGB", "L"]) -> np.ndarray:
    """Images ``(N, size, size, C)`` in [-1, 1]: the middle square of each file, white behind what is transparent."""
    images = []
    for path in paths:
        file = Path(path).expanduser()
        if not file.exists():
            raise ConfigError(f"--image={path}: there is no such file")
        try:
            images.append(data.read_picture(file, size=size, mode=mode))
        except ValueError as error:
            raise ConfigError(f"--image={path}: must be an image: {error}") from error
    return np.asarray(data.to_unit(np.stack(images), 256))
