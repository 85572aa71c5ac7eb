"""The data of an experiment behind one small interface, whether images from TFDS or points of a known density."""

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import Config, ConfigError
from scorekit import data, densities
from scorekit.typing import Array, ArrayLike

Batch = dict[str, np.ndarray]


class Dataset(Protocol):
    """Training batches and a test set.

    Attributes:
      name: what is shown to people.
      shape: shape of one example.
      num_classes: number of classes; the null label is ``num_classes``.
      examples: number of training examples, None when they are drawn anew for every step.
      levels: number of values of discrete data, None for continuous data.
      test: the test set, ``{"x": (N, ...), "label": (N,)}``.
      train: training examples to compare with, likewise.
    """

    name: str
    shape: tuple[int, ...]
    num_classes: int
    examples: int | None
    levels: int | None
    test: Batch
    train: Batch

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The batch of one step, a pure function of its arguments."""
        ...

    def to_model(self, x: ArrayLike) -> Array:
        """Stored examples as the floats that the network sees."""
        ...

    def from_model(self, x: Array) -> Array:
        """Samples brought to values that the data can take, as floats."""
        ...


class Images(Dataset):
    """A TFDS image set, held in memory as uint8."""

    def __init__(self, config: Config):
        try:
            train = data.load(config.name, config.train_split, config.data_dir)
            test = data.load(config.name, config.test_split, config.data_dir)
        except ValueError as error:
            raise ConfigError(f"config.data: {error}") from error
        self.name, self.shape, self.num_classes = train.name, train.x.shape[1:], train.num_classes
        self.examples, self.levels, self._levels = len(train.x), train.levels, train.levels
        self.train, self.test = ({"x": part.x, "label": part.label} for part in (train, test))

    def batch(self, seed, step, size):
        return data.batch_at(self.train, seed=seed, step=step, batch_size=size)

    def to_model(self, x):
        return data.to_unit(x, self._levels)

    def from_model(self, x):
        return data.to_unit(data.from_unit(x, self._levels), self._levels)


class Ring(Dataset):
    """Eight Gaussians on a circle; the class is the mode. The density is known: see ``density``."""

    def __init__(self):
        self.density = densities.ring()
        self.name, self.shape, self.num_classes = "ring of 8 Gaussians", (2,), 8
        self.examples, self.levels = None, None
        self._draw = jax.jit(self.density.sample_with_labels, static_argnums=1)
        self.train, self.test = (self._points(jax.random.key(i), 2000) for i in (1, 2))

    def _points(self, key, n):
        x, label = self._draw(key, (n,))
        return {"x": np.asarray(x), "label": np.asarray(label, np.int32)}

    def batch(self, seed, step, size):
        return self._points(jax.random.fold_in(jax.random.key(seed), step), size)

    def to_model(self, x):
        return jnp.asarray(x)

    def from_model(self, x):
        return x


def load_dataset(config: Config) -> Dataset:
    """The data set that ``config.data`` names."""
    return Ring() if config.data.name == "ring" else Images(config.data)


def held_out_of(dataset: Dataset, labels: np.ndarray) -> np.ndarray:
    """A test example for each label, those of a class in their order and from the first again when they run out."""
    found = {k: np.flatnonzero(dataset.test["label"] == k) for k in np.unique(labels)}
    seen = dict.fromkeys(found, 0)
    rows = []
    for label in labels:
        rows.append(found[label][seen[label] % len(found[label])])
        seen[label] += 1
    return dataset.test["x"][rows]
