"""Checks of a sampler: its order of convergence, its bias, its law, its last step.

All states are in units in which ``x = x0 + sigma eps`` (EDM, k-diffusion): an adapter of a sampler that works with
``alpha x0 + sigma eps`` divides by alpha. The run begins with exact draws of ``x0 + sigmas[0] eps``.

The errors of a deterministic sampler are distances to the probability-flow map. A stochastic one is affine in its
noise for a Gaussian, so that the response to one unit of each draw gives the law of its samples without Monte Carlo.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np

from scorekit.arguments import Count, Positive
from scorekit.conformance._subject import call, subject
from scorekit.conformance.problems import Mixture, gaussian, ring
from scorekit.conformance.report import Check, compared, not_applicable

_STEPS = (20, 40, 80)
"""Steps of the grids of which the order is measured, between sigma = 4.5 and 0.22."""
_ORDER, _BIAS, _NATS, _LEFT = 0.3, 0.05, 0.15, 0.2
"""Tolerances: of an order, of mean and spread in standard deviations, of -log p in nats, of the noise that is left."""


class _Denoiser:
    """A denoiser that keeps the noise levels of its calls."""

    def __init__(self, problem: Mixture):
        self.problem, self.sigmas, self.bad = problem, [], None

    def __call__(self, x, sigma):
        x, sigma = np.asarray(x), np.asarray(sigma)
        self.sigmas.append(float(np.max(sigma)))
        if self.bad is None and not np.all(np.isfinite(x)):
            self.bad = self.sigmas[-1]
        return self.problem.denoiser(x, sigma.reshape(-1))


class _Impulses:
    """In place of a generator: the k-th array of normals is 1 in the row k + 2 and 0 in the others."""

    def __init__(self):
        self.draws = 0

    def standard_normal(self, size):
        noise = np.zeros(size)
        if len(noise) > self.draws + 2:
            noise[self.draws + 2] = 1.0
        self.draws += 1
        return noise


@subject
class Sampler:
    """A sampler to check.

    Attributes:
      run: function ``(denoiser, x, sigmas, rng) -> x`` from x ``(N, D)`` at ``sigmas[0]`` to ``sigmas[-1]``, float64.
        ``denoiser(x, sigma) -> x0`` takes and gives NumPy arrays, sigmas ``(n + 1,)`` decrease; a sampler with a grid
        of its own uses only the ends and the number of sigmas. All noise is ``rng.standard_normal(shape)``.
      order: claimed order of convergence, or None.
      stochastic: whether it draws noise.
      to_zero: whether sigmas may end with 0.
      steps: number of steps for the bias and the law.
    """

    run: Callable[..., np.ndarray]
    order: Positive[float] | None = None
    stochastic: bool = False
    to_zero: bool = True
    steps: Annotated[int, Count(1, 10_000)] = 64

    def _grid(self, n, top=80.0):
        """Karras' noise levels, ending with 0 if the sampler can."""
        sigmas = np.linspace(top ** (1 / 7), 0.01 ** (1 / 7), n + (not self.to_zero)) ** 7
        return np.append(sigmas, 0.0) if self.to_zero else sigmas

    def _run(self, problem, n, sigmas):
        """The samples from n exact states, the states, and the denoiser."""
        rng, denoiser = np.random.default_rng(0), _Denoiser(problem)
        x = problem.sample(rng, n) + sigmas[0] * rng.standard_normal((n, problem.dim))
        return call("run", self.run, denoiser, x, sigmas, rng, shape=x.shape), x, denoiser

    def checks(self) -> Iterator[Check]:
        """Seven results: finite, last step, order, mean, spread, density, modes."""
        with np.errstate(all="ignore"):
            x, _, denoiser = self._run(ring(), 64, self._grid(20))
            bad = int(np.sum(~np.isfinite(x).all(axis=1)))
            where = "" if denoiser.bad is None else f"; the state is not finite at sigma = {denoiser.bad:.3g}"
            yield compared("finite", bad, tolerance=0, text="{measured} of 64 samples are not finite" + where)
            yield self._last_step()
            yield self._order()
            yield from self._bias()
            yield from self._law()

    def _last_step(self):
        sigmas, point = self._grid(10, top=10.0), gaussian([0.5, -0.3], 1e-12 * np.eye(2))
        x, _, denoiser = self._run(point, 500, sigmas)
        left, last = np.sqrt(np.mean((x - point.mean) ** 2)), sigmas[-1]
        if last > 0:
            text = f"the noise that is left is {{measured}} of sigma = {last:.3g} at the end"
            return compared("last step", left / last, expected=1.0, tolerance=_LEFT, text=text)
        last = min(sigma for sigma in denoiser.sigmas if sigma > 0)
        text = f"the noise that is left is {{measured}} of sigma = {last:.3g} before the last step"
        return compared("last step", left / last, tolerance=_LEFT, text=text)

    def _order(self):
        if self.order is None:
            return not_applicable("order", "no order is claimed")
        scale = 2.0 if self.stochastic else 0.5 if self.order > 4 else 1.0  # above the rounding errors of order 5
        steps = [round(scale * n) for n in _STEPS]
        errors = [self._spread_error(n) if self.stochastic else self._flow_error(n) for n in steps]
        if np.isinf(errors).all():
            return not_applicable("order", "the noise is not drawn from rng")
        first, slope = (np.log2(a / b) for a, b in itertools.pairwise(errors))
        error = float(abs(slope - first))  # how far the limit may be
        text = f"order {slope:.2f} ± {error:.2f} where {self.order:g} is claimed; "
        text += f"error {errors[-1]:.1e} with {steps[-1]} steps"
        found = compared("order", float(slope), 0.0, float(self.order), tolerance=_ORDER, text=text, at_least=True)
        return found._replace(error=error)

    def _flow_error(self, n):
        problem, (start, end) = _smooth(), _flow()
        rng = np.random.default_rng(0)
        x = call("run", self.run, problem.denoiser, start, _short_first(n), rng, shape=start.shape)
        return np.sqrt(np.mean((x - end) ** 2))

    def _spread_error(self, n):
        """The relative error of the standard deviation at the end, for a Gaussian in one dimension."""
        problem, sigmas, count = gaussian([0.7], [[0.25]]), _short_first(n), _Impulses()
        run = lambda x, noise: call("run", self.run, problem.denoiser, x, sigmas, noise, shape=x.shape)
        run(np.zeros((2, 1)), count)
        if not count.draws:
            return np.inf
        x = np.full((count.draws + 2, 1), 0.7)
        x[1] += 1.0
        found = run(x, _Impulses())[:, 0]
        response = found[1:] - found[0]
        variance = response[0] ** 2 * (0.25 + sigmas[0] ** 2) + np.sum(response[1:] ** 2)
        return abs(np.sqrt(variance / (0.25 + sigmas[-1] ** 2)) - 1) + abs(found[0] - 0.7)

    def _bias(self):
        problem, sigmas = gaussian([0.3, -0.2], [[0.5, 0.3], [0.3, 0.8]]), self._grid(self.steps)
        x, start, _ = self._run(problem, 4000, sigmas)
        whiten = lambda x, s: (x - problem.mean) @ problem.bases[0] / np.sqrt(problem.variances[0] + s**2)
        z, before = whiten(x, sigmas[-1]), whiten(start, sigmas[0])  # the exact flow does not change them
        mean, spread, n = z.mean(0), z.std(0), len(z)
        errors = np.array([1.0, np.sqrt(0.5)]) / np.sqrt(n)
        if not self.stochastic:
            mean, spread, errors = mean - before.mean(0), spread / before.std(0), np.zeros(2)
        text = f"the mean is off by {{measured}} standard deviations with {self.steps} steps"
        yield compared("mean", _worst(mean), errors[0], tolerance=_BIAS, text=text)
        text = f"the standard deviation is {{measured}} of the exact one with {self.steps} steps"
        yield compared("spread", 1 + _worst(spread - 1), errors[1], 1.0, tolerance=_BIAS, text=text)

    def _law(self):
        problem, sigmas, n = ring(), self._grid(self.steps), 4000
        x = self._run(problem, n, sigmas)[0]
        law, entropy = problem.marginal(1.0, sigmas[-1]), np.log(8) + 1 + np.log(2 * np.pi * (0.1**2 + sigmas[-1] ** 2))
        found = -law.log_density(x).mean() - entropy  # of modes that do not overlap; the density is 1 nat wide
        text = f"-log p of the samples is {{measured}} nats above the entropy with {self.steps} steps"
        yield compared("density", found, 1 / np.sqrt(n), tolerance=_NATS, text=text)
        share = np.bincount(law.responsibilities(x).argmax(1), minlength=8) / n
        text = "the fraction of a mode is off by {measured}"
        yield compared("modes", _worst(share - 1 / 8), np.sqrt(7 / 64 / n), tolerance=0.01, text=text)


@functools.cache
def _smooth():
    return ring(6, 1.4, 0.3)


@functools.cache
def _flow():
    """States at the first of the noise levels of the order, and where the probability flow takes them at the last."""
    problem, rng, sigmas = _smooth(), np.random.default_rng(0), _short_first(1)
    x = problem.sample(rng, 32) + sigmas[0] * rng.standard_normal((32, 2))
    return x, problem.flow(x, sigmas[0], sigmas[-1], steps=300)


def _worst(values):
    """The one with the largest absolute value."""
    return float(values[np.argmax(np.where(np.isnan(values), np.inf, np.abs(values)))])


def _short_first(n):
    """Noise levels from 4.5 to 0.22, equal steps of their logarithm after some that double, for multistep methods."""
    h = 3.0 / n
    first = [h]
    while first[-1] > 0.25 * h**2:
        first.append(first[-1] / 2)
    steps = np.concatenate([first[::-1], np.full(n - 1, h)])
    return np.exp(1.5 - np.concatenate([[0.0], np.cumsum(steps) * 3.0 / steps.sum()]))
