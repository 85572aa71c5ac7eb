"""Images from TFDS, held in memory as uint8."""

from types import MappingProxyType

import jax
import numpy as np

from experiments.cli.config import ConfigError
from experiments.data.dataset import Dataset, FrequencyAxis, Scorer, keep_not_finite, zero_not_finite
from experiments.data.views import Pictures
from scorekit import data, metrics
from scorekit.guidance import operators


def average_pool(factor: int = 2):
    """A dense map: the means over squares of ``factor`` pixels, a low-resolution copy."""
    pool = operators.average_pool(factor)
    return lambda batch: pool(batch["x"])


class Images(Dataset):
    """A TFDS image set; samples are rounded to the values of the data."""

    maps = MappingProxyType({"average_pool": average_pool})

    def __init__(self, config):
        options = config.data
        try:
            train = data.load(options.name, options.train_split, options.data_dir)
            test = data.load(options.name, options.test_split, options.data_dir)
        except ValueError as error:
            raise ConfigError(f"config.data: {error}") from error
        self.fill(train.name, train.num_classes, train.bins, *({"x": p.x, "label": p.label} for p in (train, test)))

    def fill(self, name, num_classes, bins, train, test):
        """Sets everything that a set of images has."""
        self.name, self.shape, self.num_classes, self.bins = name, train["x"].shape[1:], num_classes, bins
        self.examples, self.train, self.test = len(train["x"]), train, test

    @classmethod
    def spatial_axes(cls, config):
        return 2

    def batch(self, seed, step, size):
        return data.batch_at(self.train, seed=seed, step=step, batch_size=size)

    def to_model(self, x):
        assert self.bins is not None
        return data.to_unit(x, self.bins)

    def from_model(self, x, conditions=None):
        assert self.bins is not None
        return keep_not_finite(data.to_unit(data.from_unit(zero_not_finite(x), self.bins), self.bins), x)

    def as_batch(self, samples):
        return {"x": np.asarray(samples)}

    def view(self, samples):
        return Pictures(samples)

    def state_view(self, states):
        return Pictures(states)

    def frequency_axis(self):
        return FrequencyAxis("cycles per pixel", "cycles/pixel")

    def scorer(self):
        """A reference classifier fitted to real training images, and distances in pixel space."""
        train, test = (self.real(part) for part in (self.train, self.test))
        classifier = metrics.fit_reference_classifier(train, self.train["label"])
        real, held_out = _flat(train)[:5000], _flat(test)[:5000]

        @jax.jit  # the real data are arguments: as constants XLA would compute with them while compiling
        def compare(x, real, held_out):
            precision, recall = metrics.precision_recall(real, x)
            density, coverage = metrics.density_coverage(real, x)
            return precision, recall, density, coverage, metrics.energy_distance(held_out, x)

        def distances(x):
            names = ("precision", "recall", "density", "coverage", "energy distance")
            return dict(zip(names, map(float, compare(x, real, held_out)), strict=True))

        def samples(x, labels):
            score = metrics.classification_accuracy_score(x, labels, test, self.test["label"])
            accuracy = metrics.class_accuracy(classifier, x, labels)
            return {"class accuracy": accuracy, "classification accuracy score": score, **distances(_flat(x)[:5000])}

        accuracy = metrics.class_accuracy(classifier, test, self.test["label"])
        baseline = {**distances(held_out), "energy distance": float(jax.jit(metrics.energy_distance)(held_out, real))}
        return Scorer(
            real={"class accuracy": accuracy, "classification accuracy score": accuracy, **baseline},
            samples=samples,
            caption=(
                "Class accuracy: of a support vector machine, fitted to real training images, on the samples. "
                "Classification accuracy score: of one fitted to the samples, on the real test images. Precision, "
                "recall, density and coverage compare pixels with the training images (k = 3 and 5), energy distance "
                "with the test images; for the real data it is the one between training and test images."
            ),
        )


def _flat(x) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return x.reshape(len(x), -1)
