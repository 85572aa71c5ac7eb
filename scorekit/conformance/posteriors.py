"""Checks of log-densities and of samplers of posteriors against Bayes' rule for Gaussians and mixtures."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np

from scorekit.arguments import Count
from scorekit.conformance._subject import call, subject
from scorekit.conformance.problems import gaussian, mixture
from scorekit.conformance.report import Check, compared

_NATS, _ERROR = 0.01, 0.05
"""Tolerances of a log-density in nats and of its slope, and of their standard errors."""
_BIAS, _WEIGHT, _COVERAGE = 0.03, 0.1, 0.01
"""Tolerances: of mean and spread in standard deviations of the posterior, of the weight of a mode, of a coverage."""


@subject
class Likelihood:
    """A log-density to check.

    Attributes:
      log_prob: function ``(problem, x) -> (N,)`` in nats, for the denoiser of a Gaussian; ``problem.mean`` and
        ``problem.covariance`` allow a denoiser with automatic differentiation.
      count: number of points.
    """

    log_prob: Callable[..., np.ndarray]
    count: Annotated[int, Count(16, 100_000)] = 64

    def checks(self) -> Iterator[Check]:
        """Two results: log-density, slope."""
        problem = gaussian([0.3, -0.2], [[0.5, 0.3], [0.3, 0.8]])
        x = problem.sample(np.random.default_rng(0), self.count)
        exact, found = problem.log_density(x), call("log_prob", self.log_prob, problem, x, shape=(self.count,))
        off, root = found - exact, np.sqrt(self.count)
        text = "log p is {measured} nats too high on average"
        error = off.std() / root
        yield compared("log-density", off.mean(), error, tolerance=_NATS, text=text, largest_error=_ERROR)
        (slope, _), rest = np.polyfit(exact, found, 1), off - np.polyval(np.polyfit(exact, off, 1), exact)
        error, text = rest.std() / exact.std() / root, "log p grows {measured} times as fast as it should"
        yield compared("slope", float(slope), float(error), 1.0, tolerance=_NATS, text=text, largest_error=_ERROR)


@subject
class Posterior:
    """A sampler of posteriors to check, of ``y = A x0 + noise n``.

    Attributes:
      sample: function ``(problem, operator, observation, noise, n, rng) -> (n, D)``, samples of x0 given y, with the
        denoiser ``problem.denoiser(x, sigma)``.
      draws: number of samples for mean and spread.
      problems: number of observations for the coverage of 90 % intervals, with 100 samples each.
    """

    sample: Callable[..., np.ndarray]
    draws: Annotated[int, Count(100, 1_000_000)] = 4000
    problems: Annotated[int, Count(10, 10_000)] = 40

    def checks(self) -> Iterator[Check]:
        """Four results: mean, spread, modes, coverage."""
        rng, noise = np.random.default_rng(0), 0.3
        cov = 0.8 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
        prior, operator = gaussian([0.5, 0.0, -0.5, 0.2], cov), np.eye(4)[[0, 2]]

        def observed():
            return operator @ prior.sample(rng, 1)[0] + noise * rng.standard_normal(2)

        def draw(problem, operator, y, n):
            return call("sample", self.sample, problem, operator, y, noise, n, rng, shape=(n, problem.dim))

        y = observed()
        exact = prior.posterior(operator, y, noise)
        z = (draw(prior, operator, y, self.draws) - exact.mean) @ exact.bases[0] / np.sqrt(exact.variances[0])
        error = 1 / np.sqrt(self.draws)
        worst = lambda values: values[np.argmax(np.abs(values))]
        text = "the mean is off by {measured} standard deviations"
        yield compared("mean", worst(z.mean(0)), error, tolerance=_BIAS, text=text)
        text = "the standard deviation is {measured} of the exact one"
        yield compared("spread", 1 + worst(z.std(0) - 1), error / np.sqrt(2), 1.0, tolerance=_BIAS, text=text)
        two = mixture(np.array([0.3, 0.7]), np.array([[-1.0, 0.5], [1.0, -0.5]]), np.tile(0.04 * np.eye(2), (2, 1, 1)))
        exact = two.posterior([[0.2, 1.0]], [0.05], noise)
        x = draw(two, np.array([[0.2, 1.0]]), np.array([0.05]), self.draws)
        share, p = np.mean(exact.responsibilities(x).argmax(1) == 0), exact.weights[0]
        text, error = f"a mode of weight {p:.2f} has {{measured}} of the samples", np.sqrt(p * (1 - p) / self.draws)
        yield compared("modes", share, error, p, tolerance=_WEIGHT, text=text)
        covered = []
        for _ in range(self.problems):
            y = observed()
            exact = prior.posterior(operator, y, noise)
            x = (draw(prior, operator, y, 100) - exact.mean) / np.sqrt(np.diag(exact.covariance))
            low, high = np.quantile(x, [0.05, 0.95], axis=0, method="weibull")  # the mean of its probability is exact
            covered.append(_normal(high) - _normal(low))
        error = np.sqrt(0.9 * 0.1 / 100 / self.problems / 2)  # of four correlated coordinates, about two count
        text = "90 % intervals have {measured} of the exact probability"
        yield compared("coverage", float(np.mean(covered)), error, 0.9, tolerance=_COVERAGE, text=text)


_normal = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
"""The distribution function of a standard normal."""
