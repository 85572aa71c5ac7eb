"""Two encoders, of images and of captions, into one space, as CLIP: each finds the other in a batch.

The encoder of text is frozen, and a linear map of its vector is trained with the encoder of images. An image's
caption is drawn anew from its own in each step. Pictures of one subject, such as an emoji in two styles, are no
negatives of each other: the caption of the one describes the other too.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.cli.config import Config, ConfigError, require, require_field
from experiments.data import captions, conditions
from experiments.data.dataset import Batch, evenly, rows_of
from experiments.data.images import ImageSet
from experiments.models.samples import check_samples
from experiments.reporting.run_report import Findings
from experiments.reporting.tables import metrics_table
from experiments.tasks import task
from experiments.tasks.contrastive import embeddings
from experiments.tasks.contrastive.embeddings import DUAL_ENCODERS, Encoder
from experiments.training import build_optimizer, loop
from experiments.training.loop import Trainable, held_out_loss
from scorekit.losses.contrastive import contrastive_loss
from scorekit.metrics import retrieval_accuracy
from scorekit.typing import Array, Key, PyTree

FIELDS = task.fields(
    "dual_encoder",
    data.KINDS,
    conditions=conditions.FIELDS.but("embeddings", vector=captions.POOLED),
    seed="Of the parameters and the batches.",
    **embeddings.FIELDS,
)
OPENED_BY = "has embeddings and draws nothing; name the run of a model"
load, resolve, train = data.build, task.unchanged, loop.train
drawn_by = task.draws_nothing
fields = lambda config=None: FIELDS


def check(config: Config, dataset: ImageSet) -> None:
    """Validates that every image has captions, and that all pairs of a batch are there at once: each is compared
    with all others."""
    one, several = config.training.accumulate == 1, config.training.batch_size > 1
    require_field(config, "training.accumulate", one, "1: all pairs of a batch are compared")
    require_field(config, "training.batch_size", several, "at least 2: pairs are compared")
    for part in (dataset.train, dataset.test):
        without = int(np.sum(~part["caption_mask"].any(1)))
        allowed = f"of images with captions, {without} of {len(part['x'])} have none"
        require(without == 0, "data.name", config.data.name, allowed)


def init_params(module: nn.Module, dataset: ImageSet, key: Key) -> PyTree:
    """The initial parameters."""
    x, vectors = jnp.zeros((1, *dataset.shape)), jnp.zeros((1, dataset.test["caption_pooled"].shape[1]))
    try:
        return jax.jit(module.init)(key, x, vectors)
    except ValueError as error:
        raise ConfigError(f"config.dual_encoder: {error}") from error


def make_prepare(dataset: ImageSet):
    """``(key, batch) -> batch``; nothing of a step is random but the batch."""

    def prepare(key: Key, batch: Batch) -> dict[str, Array]:
        del key
        vectors = jnp.asarray(batch["caption_pooled"], jnp.float32)
        return {"x": dataset.to_model(batch["x"]), "caption": vectors, "subject": jnp.asarray(batch["subject"])}

    return prepare


def make_loss(module: nn.Module, axes: tuple[str, ...] = ()):
    """``(params, prepared batch) -> (loss of each example, auxiliary values of each example)``.

    Args:
      axes: axes of the devices that share a batch, inside a training step. Embeddings are gathered over them, so that
        the result does not depend on the number of devices.
    """

    def loss(params, batch):
        embedded: Any = module.apply(params, batch["x"], batch["caption"])
        images, texts, log_temperature = embedded
        given, number, first = (images, texts, batch["subject"]), len(images), 0
        if axes:
            given = jax.tree.map(lambda x: jax.lax.all_gather(x, axes, tiled=True), given)
            first = number * jax.lax.axis_index(axes)
        of_all = contrastive_loss(given[0], given[1], log_temperature, given[2])
        value = jax.lax.dynamic_slice_in_dim(of_all, first, number)
        return value, {"train/temperature": jnp.full(value.shape, jnp.exp(log_temperature))}

    return loss


def build(config, dataset):
    embeddings.check(config, dataset)
    check(config, dataset)
    module = DUAL_ENCODERS.build(config, "dual_encoder")
    prepare, optimizer = make_prepare(dataset), build_optimizer(config.training)
    axes = ("data", "fsdp") if config.training.parallel == "jit" else ("data",)
    init, held_out = functools.partial(init_params, module, dataset), held_out_loss(prepare, make_loss(module), dataset)
    trained = Trainable(init, prepare, make_loss(module, axes), optimizer, held_out, config.evaluation.ema)
    return task.Setup(config, module, "dual_encoder", trained)


open_run = functools.partial(task.open_run, load, build)


def evaluate(config, run, workdir, asked: task.Asked):
    """Retrieval on the test set, and on as many training images."""
    dataset, test = run.dataset, run.dataset.test
    encoder = Encoder(config, run.model, run.params, dataset.shape[0])
    few = rows_of(dataset.train, evenly(len(dataset.train["x"]), len(test["x"])))
    found = {}
    for name, part in (("training data", few), ("held-out data", test)):
        images = encoder.embed_pictures(np.asarray(dataset.to_model(part["x"])))
        found[name] = retrieval(images, encoder.embed_captions(part["caption_pooled"]), part["subject"])
    about = f"Recall among {len(test['x'])} pairs, of which those of the same subject are right."
    return Findings(found, [metrics_table(found, about)], heading="Retrieval", title="embeddings")


def retrieval(images: np.ndarray, texts: np.ndarray, subjects: np.ndarray) -> dict[str, float]:
    """Recall among all pairs: how often a caption, or an image, of the same subject is among the 1 or 5 closest.

    Args:
      images: embeddings of images, ``(N, D)``.
      texts: embeddings of their captions, likewise.
      subjects: integers ``(N,)``, equal for images that show the same, whose captions are right for each other.

    Returns:
      By name the fraction of images for which a right caption is found, the fraction of captions for which a right
      image is found, and the same by chance. Equal similarities count as in a random order.

    Raises:
      ConfigError: if an embedding is not finite.

    >>> found = retrieval(np.eye(8), np.eye(8), np.arange(8))
    >>> found["caption of an image, R@1"], found["chance, R@1"], found["chance, R@5"]
    (1.0, 0.125, 0.625)
    """
    for name, found in (("images", images), ("captions", texts)):
        check_samples(found, "contrastive encoders", f"embeddings of {name}")
    similarity = np.asarray(images) @ np.asarray(texts).T
    right = np.asarray(subjects)[:, None] == np.asarray(subjects)
    named = {
        "caption of an image": similarity,
        "image of a caption": similarity.T,
        "chance": np.zeros_like(similarity),
    }
    mean = lambda scores, k: float(np.mean(np.asarray(retrieval_accuracy(scores, right, k=k), np.float64)))
    return {f"{name}, R@{k}": mean(scores, k) for k in (1, 5) for name, scores in named.items()}
