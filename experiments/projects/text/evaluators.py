"""Evaluators of pictures: contrastive encoders for captions, a classifier for classes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.cli.config import Config, ConfigError
from experiments.data import on_captions
from experiments.data.conditions import EMBEDDING
from experiments.data.dataset import in_blocks
from experiments.models import run_files
from experiments.models.run_files import config_of, recorded_encoder
from experiments.models.samples import digest_of
from experiments.projects.text.examples import Gallery
from experiments.projects.text.stages import Stage
from experiments.tasks.classifier import model as classifier
from experiments.tasks.contrastive import embeddings
from scorekit.io import as_path

_BLOCK = 100


class Evaluator(NamedTuple):
    """Features of pictures and of the entries of the gallery, whose inner product is the score.

    Attributes:
      name: owner of the features, for people.
      features: ``pictures (N, H, W, C) -> (N, D)``.
      entries: ``(G, D)``.
      scores_texts: whether a score is a cosine of a picture and a text, which means something by itself.
      identity: hash of the run and its weights, to compare evaluations by.
    """

    name: str
    features: Callable[[np.ndarray], np.ndarray]
    entries: np.ndarray
    scores_texts: bool
    identity: str


def check(path: str, config: Config, name: str) -> None:
    """Validates that the run of an evaluator is of the kind and the data that the stages need; nothing is loaded.

    ``config`` and ``name`` are of the first stage.
    """
    given = f"--evaluator={path}"
    own, wants = config_of(path, given), on_captions(config)
    if config.conditions.vector.name == EMBEDDING and not wants:
        raise ConfigError(
            f"--stages: {name} must have the tokens of captions as a condition beside the embedding, by "
            f"config.conditions.tokens.name=captions: a decoder without captions is not evaluated"
        )
    task, why = "classifier", "for stages without captions"
    if wants:
        task, why = "dual_encoder", "this one embeds no captions"
    if own.task != task:
        raise ConfigError(f"{given}: must be a run of config.task={task}, {why}")
    run_files.check_same_data(own, config, given, name)


def open_evaluator(path: str, name: str, side: int, gallery: Gallery) -> Evaluator:
    """The evaluator of a run, for pictures ``side`` pixels high that the stage ``name`` draws."""
    given = f"--evaluator={path}"
    own = config_of(path, given)
    if own.task == "classifier":
        size = own.data.get("image_size")
        check_size(name, side, given, size if size is not None else side, exactly=True)
        logits = classifier.open_logits(own, ConfigDict({"workdir": path, "step": None}))
        log_p = jax.jit(lambda x: jax.nn.log_softmax(logits(x, jnp.zeros(len(x)))))
        features = lambda x: in_blocks(log_p, np.asarray(x, np.float32), min(_BLOCK, len(x)))
        eye = np.eye(len(gallery.texts), dtype=np.float32)
        kept = sorted(step.name for step in (as_path(path) / "checkpoints").glob("[0-9]*"))
        return Evaluator("log-probabilities of a classifier", features, eye, False, f"{digest_of(own)} {kept}")
    encoder = embeddings.open_encoder(path, given)
    check_size(name, side, given, encoder.image_size)
    entries = encoder.embed_texts(gallery.texts)
    return Evaluator("embeddings of contrastive encoders", encoder.embed_pictures, entries, True, encoder.checksum)


def check_independent(path: str, evaluator: Evaluator, stages: Sequence[Stage]) -> None:
    """Validates that no stage, nor a prior among them, was trained with the weights of the evaluator.

    Such a stage has been trained for high values from this evaluator.
    """
    for stage in stages:
        if evaluator.identity in (stage.run.dataset.encoder, recorded_encoder(Path(stage.name).expanduser())):
            raise ConfigError(
                f"--evaluator={path}: must be one that no stage was trained with, {stage.name} was "
                f"trained on its embeddings; train another one, with another seed"
            )


def check_size(name: str, side: int, given: str, size: int, exactly: bool = False) -> None:
    """Validates that an evaluator takes pictures of this side: a multiple or a divisor of its own, or the same."""
    if side != size and (exactly or (side % size and size % side)):
        allowed = "of the same size" if exactly else "of a multiple or a divisor of the size"
        raise ConfigError(
            f"{given}: must take pictures {allowed} that {name} draws, {side} x {side} pixels; it takes {size} x {size}"
        )
