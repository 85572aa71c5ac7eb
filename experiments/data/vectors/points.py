"""Points of a known density, and what all data without places share."""

import math
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.display import Points, Preview, Scorer
from scorekit import densities, metrics
from scorekit.arguments import OneOf


def distances_to(test: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
    """The distances of points to a test set ``(N, D)``."""
    key = jax.random.key(0)

    @jax.jit
    def compare(x, test):
        return metrics.energy_distance(test, x), metrics.sliced_wasserstein(key, test, x)

    return lambda x: dict(zip(("energy distance", "sliced Wasserstein"), map(float, compare(x, test)), strict=True))


class Vectors(Dataset):
    """What these kinds share: vectors without places, of which a model sees the stored values."""

    min_samples = 2  # energy distance

    def to_model(self, x):
        return jnp.asarray(x)


class Ring(Vectors):
    """Eight Gaussians on a circle; the class is the component. ``density`` is the exact density.

    Args:
      label: "class" for the component, "none" for a network without classes.
    """

    name, shape, examples = "ring of 8 Gaussians", (2,), None

    def __init__(self, *, label: Annotated[str, OneOf("class", "none")] = "class"):
        self.density, self.labelled = densities.ring(), label == "class"
        self.num_classes = 8 if self.labelled else 1
        self._sample = jax.jit(self.density.sample_with_labels, static_argnums=1)

    def read(self, part):
        return self._points(jax.random.key(1 + part), 2000)

    def _points(self, key, n):
        x, label = self._sample(key, (n,))
        return {"x": np.asarray(x), "label": np.asarray(label if self.labelled else 0 * label, np.int32)}

    def batch(self, seed, step, size):
        return self._points(jax.random.fold_in(jax.random.key(seed), step), size)

    def from_model(self, x, conditions=None):
        return x

    def as_batch(self, samples):
        return {"x": samples}

    def view(self, samples):
        return Points(samples)

    def preview(self):
        return Preview(np.arange(2000) % self.num_classes, ["samples", "data"], self.test)

    def guidance_labels(self):
        return np.arange(1000) % self.num_classes

    def exact_bits(self):
        return float(self.density.component(0).entropy()) / (2 * math.log(2)) if self.labelled else None

    def scorer(self):
        """The exact posterior of the class, and distances to other points of the density."""
        test, train = self.test["x"], self.train["x"]
        distances = distances_to(test)

        def accuracy(x, labels):
            if not self.labelled:
                return {}
            predicted = self.density.responsibilities(jnp.asarray(x)).argmax(-1)
            return {"class accuracy": float(np.mean(np.asarray(predicted) == labels))}

        return Scorer(
            real={**accuracy(test, self.test["label"]), **distances(train)},
            samples=lambda x, labels: {**accuracy(x, labels), **distances(x[: len(test)])},
            caption="Class accuracy by the exact posterior; distances to 2,000 other points of the true density.",
        )
