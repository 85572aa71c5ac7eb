"""Checks of a distance between two sets of vectors against its closed form for Gaussians, and of its invariances."""

import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from scorekit.arguments import PositiveInt
from scorekit.conformance._subject import subject
from scorekit.conformance.problems import Mixture, gaussian
from scorekit.conformance.report import Check, compared, not_applicable

__all__ = ["Metric"]

_BLOCKS = 8


@subject
class Metric:
    """A metric to check.

    Attributes:
      value: function ``(x, y) -> float`` of sets ``(N, D)`` and ``(M, D)``.
      kind: "frechet" for ``|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))``, "mmd" for the squared maximum mean discrepancy
        of the kernel ``exp(-|x - y|^2 / 2)``, "c2st" for the accuracy of a classifier, "distance" for any other metric
        that, for equal laws, falls to 0 with the number of vectors or its root.
      count: number of vectors of a set.
    """

    value: Callable[[np.ndarray, np.ndarray], float]
    kind: Literal["frechet", "mmd", "c2st", "distance"]
    count: PositiveInt = 1000

    def checks(self) -> Iterator[Check]:
        """Four results: closed form, null, symmetry, rotation."""
        rng, spread = np.random.default_rng(0), np.array([[0.5, 0.3], [0.3, 0.8]])
        other = spread if self.kind == "c2st" else np.array([[1.2, -0.2], [-0.2, 0.4]])
        p, q = gaussian([0.3, -0.2], spread), gaussian([1.0, 0.4], other)
        pairs = [(p.sample(rng, self.count), q.sample(rng, self.count)) for _ in range(_BLOCKS)]
        values = np.array([self.value(x, y) for x, y in pairs], float)
        error = values.std(ddof=1) / np.sqrt(_BLOCKS)
        if self.kind == "distance":
            yield not_applicable("closed form", "none is known for this kind")
        else:
            exact = _EXACT[self.kind](p, q)
            text = f"{{measured}} where {exact:.3g} is the value for the two Gaussians"
            yield compared("closed form", values.mean(), error, exact, tolerance=0.03 * exact, text=text)
        null = 0.5 if self.kind == "c2st" else 0.0
        same = np.array([self.value(x, p.sample(rng, self.count)) for x, _ in pairs])
        text = "{measured} for two sets of one law"
        if self.kind == "distance":  # that of a root falls with the root of the number
            quarter = max(self.count // 4, 1)
            same = 2 * same - [self.value(x[:quarter], p.sample(rng, quarter)) for x, _ in pairs]
            text += f", extrapolated from {quarter} and {self.count} vectors"
        error = same.std(ddof=1) / np.sqrt(_BLOCKS)
        yield compared("null", same.mean(), error, null, tolerance=0.03 * values.mean(), text=text)
        x, y = pairs[0]
        noise = 4 * values.std(ddof=1) if self.kind == "c2st" else 1e-5 * values[0]  # of the fit of a classifier
        text = "it changes by {measured} when the sets are exchanged"
        yield compared("symmetry", self.value(y, x) - values[0], tolerance=noise, text=text)
        angle = np.array([[0.6, -0.8], [0.8, 0.6]])
        text = "it changes by {measured} when both sets are rotated and shifted"
        moved = self.value(x @ angle + 1.0, y @ angle + 1.0)
        yield compared("rotation", moved - values[0], tolerance=noise, text=text)


def _frechet(p: Mixture, q: Mixture) -> float:
    root = np.sqrt(np.linalg.eigvals(p.covariance @ q.covariance).real).sum()
    return np.sum((p.mean - q.mean) ** 2) + np.trace(p.covariance + q.covariance) - 2 * root


def _mmd(p: Mixture, q: Mixture) -> float:
    def kernel(a, b):
        total, off = a.covariance + b.covariance + np.eye(a.dim), a.mean - b.mean
        return np.exp(-0.5 * off @ np.linalg.solve(total, off)) / np.sqrt(np.linalg.det(total))

    return kernel(p, p) + kernel(q, q) - 2 * kernel(p, q)


def _c2st(p: Mixture, q: Mixture) -> float:
    off = p.mean - q.mean
    return 0.5 * (1 + math.erf(np.sqrt(off @ np.linalg.solve(p.covariance, off)) / np.sqrt(8.0)))


_EXACT = {"frechet": _frechet, "mmd": _mmd, "c2st": _c2st}
