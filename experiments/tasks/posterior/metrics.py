"""Whether the posterior of a run is calibrated, on the held-out rows of its table."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.fields import POSITIVE, Field, Section
from experiments.data.dataset import Batch, rows_of
from experiments.data.vectors.simulators import Simulations
from experiments.tasks.posterior.model import Posterior
from scorekit import metrics
from scorekit.arguments import Count

FIELDS = Section(
    at_end=Field(None, bool, "Whether a training ends with metrics; False leaves them to experiments.evaluate."),
    observations=Field(500, Count(20, 10**6), "Held-out rows, at most, whose posteriors are tested."),
    samples=Field(200, Count(10, 10**6), "Samples of each of these posteriors."),
    densities=Field(50, Count(0, 10**6), "Of these rows those with log-densities of 50 samples; 0 for none."),
    compared=Field(
        3,
        Count(0, 10**4),
        """
        Of these rows those whose posterior is compared with exact samples by a classifier, where a simulator has
        them; 0 for none.""",
    ),
    exact_tolerance=Field(1e-4, POSITIVE, "Relative and absolute tolerance of the steps of log-densities."),
)
LEVELS = np.linspace(0.05, 0.95, 19)
"""Nominal coverages."""
_DENSITIES = 50
"""Samples of a posterior whose log-density is found."""
_EXACT_SAMPLES = 2000
"""Samples of a two-sample test with an exact posterior."""


class Calibration(NamedTuple):
    """The tests of the posteriors of N held-out rows, each with S samples.

    Attributes:
      samples: ``(N, S, D)``.
      truth: ``(N, D)``.
      ranks: of each parameter, ``(N, D)``.
      coverages: curves ``(L,)`` by name: of each parameter, of distances (TARP), and of densities.
      p_values: p-value of each curve, and of the ranks of each parameter.
      counts: number of rows of each curve.
      log_prob: mean log-density of the truth in nats and its standard error; None where it was not asked for.
      accuracy: mean accuracy of a classifier between samples and exact samples; None where there are none.
      predictive: p-value of new observations among those simulated from the posteriors; None without a simulator.
    """

    samples: np.ndarray
    truth: np.ndarray
    ranks: np.ndarray
    coverages: dict[str, np.ndarray]
    p_values: dict[str, float]
    counts: dict[str, int]
    log_prob: tuple[float, float] | None
    accuracy: float | None
    predictive: float | None


def calibration(posterior: Posterior, seed: int) -> Calibration:
    """Tests the posteriors of the held-out rows."""
    options, dataset = posterior.config.evaluation, posterior.dataset
    rows = rows_of(dataset.test, slice(options.observations))
    truth, names = np.asarray(dataset.real(rows), float), dataset.entries
    samples = posterior.sample(seed, rows, options.samples)
    number, ranks = len(truth), metrics.posterior_ranks(samples, truth)
    intervals = metrics.interval_coverage(samples, truth, LEVELS)
    coverages = {name: intervals[:, i] for i, name in enumerate(names)}
    coverages["distance (TARP)"] = metrics.tarp(samples, truth, LEVELS)
    counts, log_prob = dict.fromkeys(coverages, number), None
    if options.densities:
        few = min(options.densities, number)
        of_samples = posterior.log_prob(samples[:few, :_DENSITIES], rows_of(rows, slice(few)))
        of_truth = posterior.log_prob(truth[:few, None], rows_of(rows, slice(few)))[:, 0]
        coverages["density"] = metrics.expected_coverage(of_samples, of_truth, LEVELS)
        counts["density"] = few
        log_prob = float(of_truth.mean()), float(of_truth.std() / math.sqrt(few))
    test = lambda name: metrics.coverage_test(coverages[name], LEVELS, counts[name])
    p_values = {name: float(test(name).p_value) for name in coverages}
    of_ranks = metrics.rank_test(ranks, options.samples).p_value
    p_values |= {f"ranks of {name}": float(p) for name, p in zip(names, of_ranks, strict=True)}
    accuracy, predictive = two_sample(posterior, rows, seed), replicated(posterior, rows, samples, seed)
    return Calibration(samples, truth, ranks, coverages, p_values, counts, log_prob, accuracy, predictive)


def two_sample(posterior: Posterior, rows: Batch, seed: int) -> float | None:
    """The mean accuracy of a classifier that tells samples from exact ones, over a few observations.

    It stops at the smallest loss of a tenth of the rows. One that is fitted to the end, as in the benchmark SBIBM,
    learns its rows by heart: in 10 dimensions it takes 100 times as long, and in 2 it finds less of a spread 10 % too
    small.
    """
    dataset, number = posterior.dataset, posterior.config.evaluation.compared
    if not number or not isinstance(dataset, Simulations) or dataset.simulator.posterior is None:
        return None
    from sklearn.neural_network import MLPClassifier

    accuracies, few = [], rows_of(rows, slice(number))
    hidden = (10 * math.prod(dataset.shape),) * 2
    classifier = MLPClassifier(hidden, max_iter=1000, early_stopping=True, random_state=1)
    drawn = posterior.sample(seed + 1, few, _EXACT_SAMPLES)
    for i, x in enumerate(dataset.conditions_of(few)["condition"]):
        key = jax.random.fold_in(jax.random.key(seed), i)
        exact = np.asarray(dataset.simulator.posterior(key, jnp.asarray(x[None], jnp.float32), _EXACT_SAMPLES))
        accuracies.append(float(metrics.two_sample_test(exact, drawn[i, : len(exact)], classifier).statistic))
    return float(np.mean(accuracies))


def replicated(posterior: Posterior, rows: Batch, samples: np.ndarray, seed: int) -> float | None:
    """The p-value of new observations among observations of the posterior's samples, the smallest of all entries.

    The new ones are simulated with the true parameters and not conditioned on, so that they are uniform.
    """
    dataset = posterior.dataset
    if not isinstance(dataset, Simulations):
        return None
    keys = jax.random.split(jax.random.key(seed + 2))
    n, s, d = samples.shape
    again = dataset.simulate(keys[0], jnp.asarray(samples.reshape(-1, d)))["x"].reshape(n, s, -1)
    new = dataset.simulate(keys[1], jnp.asarray(dataset.real(rows)))["x"].reshape(n, -1)
    p = metrics.rank_test(metrics.posterior_ranks(again, new), s).p_value
    return float(min(1.0, p.size * p.min()))
