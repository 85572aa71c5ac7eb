"""Checks of log-densities and of samplers of posteriors against Bayes' rule for Gaussians and mixtures."""

from collections.abc import Callable, Iterator

import numpy as np

from scorekit.arguments import PositiveInt
from scorekit.conformance._subject import subject
from scorekit.conformance.problems import gaussian, mixture
from scorekit.conformance.report import Check, compared

__all__ = ["Likelihood", "Posterior"]

_BIAS = 0.1
"""Tolerance of mean and spread in standard deviations of the posterior, and of the weight of a mode."""


@subject
class Likelihood:
    """A log-density to check.

    Attributes:
      log_prob: function ``(problem, x) -> (N,)`` in nats, for the denoiser of a Gaussian; ``problem.mean`` and
        ``problem.covariance`` allow a denoiser with automatic differentiation.
      count: number of points.
    """

    log_prob: Callable[..., np.ndarray]
    count: PositiveInt = 64

    def checks(self) -> Iterator[Check]:
        """Two results: log-density, slope."""
        problem = gaussian([0.3, -0.2], [[0.5, 0.3], [0.3, 0.8]])
        x = problem.sample(np.random.default_rng(0), self.count)
        exact, found = problem.log_density(x), np.asarray(self.log_prob(problem, x), float)
        off, root = found - exact, np.sqrt(self.count)
        text = "log p is {measured} nats too high on average"
        yield compared("log-density", off.mean(), off.std() / root, tolerance=0.01, text=text)
        (slope, _), rest = np.polyfit(exact, found, 1), off - np.polyval(np.polyfit(exact, off, 1), exact)
        error, text = rest.std() / exact.std() / root, "log p grows {measured} times as fast as it should"
        yield compared("slope", float(slope), float(error), 1.0, tolerance=0.01, text=text)


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
    draws: PositiveInt = 1000
    problems: PositiveInt = 40

    def checks(self) -> Iterator[Check]:
        """Four results: mean, spread, modes, coverage."""
        rng, noise = np.random.default_rng(0), 0.3
        cov = 0.8 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
        prior, operator = gaussian([0.5, 0.0, -0.5, 0.2], cov), np.eye(4)[[0, 2]]

        def observed():
            x0 = prior.sample(rng, 1)[0]
            return x0, operator @ x0 + noise * rng.standard_normal(2)

        def draw(problem, operator, y, n):
            x = np.asarray(self.sample(problem, operator, y, noise, n, rng), float)
            if x.shape != (n, problem.dim):
                raise ValueError(f"sample must return shape ({n}, {problem.dim}), got {x.shape}")
            return x

        _, y = observed()
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
        yield compared("modes", share, error, p, tolerance=_BIAS, text=text)
        truth, samples = [], []
        for _ in range(self.problems):
            x0, y = observed()
            truth.append(x0)
            samples.append(draw(prior, operator, y, 100))
        low, high = np.quantile(samples, [0.05, 0.95], axis=1)
        coverage = np.mean((low <= truth) & (truth <= high))
        error = np.sqrt(0.9 * 0.1 / self.problems / 2)  # of four correlated coordinates, about two count
        text = "90 % intervals cover {measured} of the truths"
        yield compared("coverage", float(coverage), error, 0.9, tolerance=0.02, text=text)
