"""Checks of a distance between two sets of vectors against its closed form for Gaussians, and of its invariances."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import numpy as np

from scorekit.arguments import Count
from scorekit.conformance._subject import call, subject
from scorekit.conformance.problems import Mixture, gaussian
from scorekit.conformance.report import Check, compared, not_applicable

_BLOCKS = 8
_BIAS, _ERROR, _ROUNDING = 0.03, 0.05, 1e-5
"""Tolerances, relative to the value for two laws: of a value, of its standard error with 1000
vectors, of an invariance."""


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
    count: Annotated[int, Count(100, 100_000)] = 1000

    def checks(self) -> Iterator[Check]:
        """Five results: closed form, null, rows, symmetry, rotation."""
        rng, spread = np.random.default_rng(0), np.array([[0.5, 0.3], [0.3, 0.8]])
        other = spread if self.kind == "c2st" else np.array([[1.2, -0.2], [-0.2, 0.4]])
        p, q = gaussian([0.3, -0.2], spread), gaussian([1.0, 0.4], other)
        pairs = [(p.sample(rng, self.count), q.sample(rng, self.count)) for _ in range(_BLOCKS)]
        value = lambda x, y: call("value", self.value, x, y, shape=())
        values, largest = np.array([value(x, y) for x, y in pairs]), _ERROR * np.sqrt(1000 / self.count)
        spread = lambda each: each.std(ddof=1) / np.sqrt(_BLOCKS)
        noise = _ROUNDING * abs(values[0])
        if self.kind == "distance":
            yield not_applicable("closed form", "none is known for this kind")
        else:
            exact = _EXACT[self.kind](p, q)
            text = f"{{measured}} where {exact:.3g} is the value for the two Gaussians"
            error, bias, limit = spread(values), _BIAS * exact, largest * exact
            yield compared("closed form", values.mean(), error, exact, tolerance=bias, text=text, largest_error=limit)
            if self.kind == "c2st":  # the fit of a classifier depends on the order; half of the vectors are a test
                noise = 4 * np.sqrt(exact * (1 - exact) / self.count)
        null = 0.5 if self.kind == "c2st" else 0.0
        same = np.array([value(x, p.sample(rng, self.count)) for x, _ in pairs])
        text = "two sets of one law are {measured} times as far apart as those of two laws"
        if self.kind == "distance":  # that of a root falls with the root of the number
            quarter = self.count // 4
            same = 2 * same - [value(x[:quarter], p.sample(rng, quarter)) for x, _ in pairs]
            text += f", extrapolated from {quarter} and {self.count} vectors"
        with np.errstate(all="ignore"):  # nan if it is always 0
            same = (same - null) / np.abs(values.mean() - null)
        yield compared("null", same.mean(), spread(same), tolerance=_BIAS, text=text, largest_error=largest)
        (x, y), order, angle = pairs[0], rng.permutation(self.count), np.array([[0.6, -0.8], [0.8, 0.6]])
        for name, change, moved in (
            ("rows", "the vectors of each set are reordered", (x[order], y[order[::-1]])),
            ("symmetry", "the sets are exchanged", (y, x)),
            ("rotation", "both sets are rotated and shifted", (x @ angle + 1.0, y @ angle + 1.0)),
        ):
            off, text = float(value(*moved) - values[0]), f"it changes by {{measured}} when {change}"
            yield compared(name, off, tolerance=float(noise), text=text)


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
