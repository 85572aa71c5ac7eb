"""Checks of a training loss, ``w(sigma) mean_d (D(x0 + sigma eps, sigma) - x0)^2`` for a denoiser D.

At the exact denoiser its expectation is ``w(sigma)`` times the mean squared error of ``E[x0 | x]``, its derivative in
every direction is 0, and its second difference in a constant direction c is ``2 w(sigma) c^2``. This holds whatever the
network predicts, and however the loss is written.
"""

from collections.abc import Callable, Iterator

import numpy as np

from scorekit.conformance._subject import call, subject
from scorekit.conformance.problems import gaussian
from scorekit.conformance.report import Check, compared, not_applicable

_EXAMPLES = 20_000
_ERROR = 0.05
"""Largest standard error of the value at the exact denoiser, of the value itself."""


@subject
class Loss:
    """A training loss to check.

    Attributes:
      value: function ``(denoiser, x0, seed) -> (N,)``, the loss of each example for ``denoiser(x, sigma) -> x0`` with x
        ``(N, D)`` and sigma ``(N,)``, in units in which ``x = x0 + sigma eps``; the same noise for the same seed.
      weight: declared ``w(sigma)`` of the error of x0, ``(N,)``, or None.
    """

    value: Callable[..., np.ndarray]
    weight: Callable[[np.ndarray], np.ndarray] | None = None

    def checks(self) -> Iterator[Check]:
        """Three results: minimiser, value, weighting."""
        problem = gaussian([0.3, -0.2], [[0.5, 0.3], [0.3, 0.8]])
        x0 = problem.sample(np.random.default_rng(0), _EXAMPLES)
        seen = []

        def value(direction, size):
            def denoiser(x, sigma):
                sigma = np.broadcast_to(np.array(sigma).reshape(-1), len(x))
                seen.append(sigma)
                return problem.denoiser(x, sigma) + size * direction(np.asarray(x), sigma[:, None])

            return call("value", self.value, denoiser, x0, 0, shape=(len(x0),))

        directions = (lambda x, sigma: np.ones_like(x), lambda x, sigma: x * sigma / (1.0 + sigma**2))
        sides = [[value(direction, size) for size in (0.1, -0.1)] for direction in directions]
        exact = value(directions[0], 0.0)
        weights, sigma = (sum(sides[0]) - 2 * exact) / 0.02, seen[-1]
        slopes = [(up - down) / weights for up, down in sides]
        slopes = [slope / np.std(slope) for slope in slopes]
        worst = max(slopes, key=lambda each: abs(each.mean()))
        text = "the gradient at the exact denoiser is {measured} of its standard deviation"
        error = 1 / np.sqrt(len(x0))
        yield compared("minimiser", float(worst.mean()), error, tolerance=0.01, text=text)
        variances = problem.variances[0]
        best = np.mean(variances * sigma[:, None] ** 2 / (variances + sigma[:, None] ** 2), axis=1)
        excess, scale = exact - weights * best, np.mean(weights * best)
        error, text = np.std(excess) / np.sqrt(len(x0)) / scale, "the loss of the exact denoiser is {measured} of it"
        found, error = float(1 + excess.mean() / scale), float(abs(error))
        yield compared("value", found, error, 1.0, tolerance=0.01, text=text, largest_error=_ERROR)
        declared = self.weight
        if declared is None:
            yield not_applicable("weighting", "no weight is declared")
        else:
            weight = lambda sigma: np.broadcast_to(declared(sigma), sigma.shape)  # a constant is a scalar
            ratio = weights / call("weight", weight, sigma, shape=sigma.shape)
            off = ratio[np.argmax(np.abs(ratio - np.median(ratio)))] if np.ptp(ratio) > 1e-2 else np.median(ratio)
            text = "the weight is {measured} times the declared one"
            yield compared("weighting", float(off), expected=1.0, tolerance=1e-2, text=text)
