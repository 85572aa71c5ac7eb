"""Embeddings of pictures by contrastive encoders: a vector as a condition, or examples themselves, for a prior.

An embedding of D values has norm 1; as a field of a batch, to networks, it is multiplied by sqrt(D), so that the mean
square of its values, and with it ``sigma_data``, is 1.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, require
from experiments.cli.fields import Field, Section, Text
from experiments.data import captions
from experiments.data.dataset import Batch, Dataset, keep_not_finite, zero_not_finite
from experiments.data.display import Points, Preview, Scorer
from scorekit import metrics
from scorekit.typing import Array

EMBEDDING = "embedding"
"""The field of a batch with the embeddings ``(B, D)``, and the vector made of it."""


FIELDS = Section(
    encoder=Field(
        None,
        Text("a folder"),
        """
        Folder of a run of contrastive encoders, whose embeddings of the pictures are a condition
        (``vector.name`` is "embedding") or the examples; None is for neither.""",
    ),
    as_examples=Field(None, bool, "The examples are the embeddings, for a prior; None is False."),
)
"""The section ``data.embeddings``."""


def are_examples(config: Config) -> bool:
    """Whether the examples of a config are embeddings."""
    return bool("embeddings" in config.data and config.data.embeddings.as_examples)


class Embedding:
    """The embedding of the picture itself, of mean square 1, by the encoders of ``config.data.embeddings``."""

    from_samples = False

    def __call__(self, batch: Mapping[str, Any]) -> Array:
        return jnp.asarray(batch[EMBEDDING])


def check(config: Config) -> None:
    """Validates the section ``data.embeddings`` of pictures."""
    options = config.data
    if "embeddings" not in options or "vector" not in options:
        return
    encoder, vector = options.embeddings.encoder, options.vector.name
    if are_examples(config):
        require(encoder is not None, "data.embeddings.encoder", None, "a folder with data.embeddings.as_examples=True")
        allowed = "{} with data.embeddings.as_examples=True"
        names = (captions.POOLED, "none")
        require(vector in names, "data.vector.name", vector, allowed.format(" or ".join(names)))
        for field in ("map", "tokens"):
            require(options[field].name == "none", f"data.{field}.name", options[field].name, allowed.format("none"))
        for field in ("latents", "image_crop", "augment"):
            require(options[field] is None, f"data.{field}", options[field], allowed.format("None"))
        return
    allowed = f"a folder for data.vector.name={EMBEDDING}, None without it"
    require((encoder is not None) == (vector == EMBEDDING), "data.embeddings.encoder", encoder, allowed)
    allowed = f"None with data.vector.name={EMBEDDING}"
    require(encoder is None or options.latents is None, "data.latents", options.latents, allowed)


def scaled(embeddings: np.ndarray) -> np.ndarray:
    """Unit vectors ``(N, D)`` as networks receive them, times sqrt(D).

    >>> scaled(np.array([[0.6, 0.0, 0.8, 0.0]])).tolist()
    [[1.2, 0.0, 1.6, 0.0]]
    """
    return math.sqrt(embeddings.shape[-1]) * embeddings


class Embeddings(Dataset):
    """The embeddings of a set of pictures that has the field :data:`EMBEDDING`; samples are of mean square 1 too."""

    def __init__(self, inner: Dataset):
        self._inner = inner
        self.name, self.num_classes, self.examples = f"embeddings of {inner.name}", inner.num_classes, inner.examples
        self.train, self.test = (_as_examples(part) for part in (inner.train, inner.test))
        self.shape = self.train["x"].shape[1:]
        self.vectors, self.from_fields, self.encoder = inner.vectors, inner.from_fields, inner.encoder

    def batch(self, seed, step, size):
        return _as_examples(self._inner.batch(seed, step, size))

    def batches(self, seed, first_step, size, process_index=0, process_count=1):
        return map(_as_examples, self._inner.batches(seed, first_step, size, process_index, process_count))

    def to_model(self, x):
        return jnp.asarray(x)

    def from_model(self, x, conditions=None):
        kept = zero_not_finite(x)
        square = jnp.maximum(jnp.square(kept).mean(-1, keepdims=True), 1e-12)
        return keep_not_finite(kept / jnp.sqrt(square), x)

    def view(self, samples):
        """Their first two values."""
        return Points(samples[:, :2])

    def preview(self):
        rows = np.arange(min(500, len(self.test["label"])))
        return Preview(self.test["label"][rows], ["samples", "data"], {k: v[rows] for k, v in self.test.items()})

    def guidance_labels(self):
        return self.test["label"][:500]

    def scorer(self):
        test, train = self.test["x"], self.train["x"][:5000]
        distance = lambda x: {"energy distance": float(metrics.energy_distance(test, x))}
        caption = "Energy distance: of samples, and of training embeddings, to those of the test pictures."
        return Scorer(real=distance(train), samples=lambda x, labels: distance(x[:5000]), caption=caption)


def _as_examples(part: Batch) -> Batch:
    return {**{name: value for name, value in part.items() if name != EMBEDDING}, "x": part[EMBEDDING]}
