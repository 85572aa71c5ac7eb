"""Points of a known density, and what all data without places share."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import require
from experiments.data.dataset import Dataset
from experiments.data.display import Points, Preview, Scorer
from scorekit import densities, metrics


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

    @classmethod
    def spatial_axes(cls, config):
        return 0

    @classmethod
    def check(cls, config):
        super().check(config)
        latents = config.data.get("latents")
        require(latents is None, "data.latents", latents, "None for points and tables")

    def to_model(self, x):
        return jnp.asarray(x)


class Ring(Vectors):
    """Eight Gaussians on a circle; the class is the component. ``density`` is the exact density."""

    def __init__(self, config):
        self.density, self._unlabelled = densities.ring(), self.unlabelled(config)
        self.name, self.shape, self.num_classes = "ring of 8 Gaussians", (2,), 1 if self._unlabelled else 8
        self.examples = None
        self._sample = jax.jit(self.density.sample_with_labels, static_argnums=1)
        self.train, self.test = (self._points(jax.random.key(i), 2000) for i in (1, 2))

    def _points(self, key, n):
        x, label = self._sample(key, (n,))
        return {"x": np.asarray(x), "label": np.asarray(0 * label if self._unlabelled else label, np.int32)}

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
        return None if self._unlabelled else float(self.density.component(0).entropy()) / (2 * math.log(2))

    def scorer(self):
        """The exact posterior of the class, and distances to other points of the density."""
        test, train = self.test["x"], self.train["x"]
        distances = distances_to(test)

        def accuracy(x, labels):
            if self._unlabelled:
                return {}
            found = self.density.responsibilities(jnp.asarray(x)).argmax(-1)
            return {"class accuracy": float(np.mean(np.asarray(found) == labels))}

        return Scorer(
            real={**accuracy(test, self.test["label"]), **distances(train)},
            samples=lambda x, labels: {**accuracy(x, labels), **distances(x[: len(test)])},
            caption="Class accuracy by the exact posterior; distances to 2,000 other points of the true density.",
        )
