"""Is a posterior calibrated? Ranks, coverage, and tests of the samples of a posterior.

Each of N simulations draws a truth from the prior, an observation from the simulator, and S samples from the posterior
that is tested. For an exact posterior the truth is one more such sample, so that its place among them is uniform:

=====================  ================================================================================================
function               what is ordered
=====================  ================================================================================================
``posterior_ranks``    each parameter: simulation-based calibration
``interval_coverage``  each parameter, from the median outwards: coverage of central intervals
``expected_coverage``  the density of the posterior: coverage of regions of highest density
``tarp``               the distance from a reference point: tests of accuracy with random points
=====================  ================================================================================================

Uniform is necessary and not sufficient: the prior itself passes all but ``tarp`` with reference points that depend on
the observation, and ``two_sample_test``, which compares with samples of the exact posterior where there are some.

Places are made continuous by a uniform number between the two neighbours (and all that tie), so that the counts in a
coverage are binomial for every S. One pair of functions serves all curves: ``coverage_band`` and ``coverage_test``.

Everything is computed by numpy in float64 on the host; all randomness comes from the seed.

>>> rng = np.random.default_rng(0)
>>> truth, levels = rng.normal(size=(500, 1)), np.array([0.5, 0.9])
>>> x = truth + rng.normal(size=(500, 1))
>>> exact = x[:, None] / 2 + 0.5**0.5 * rng.normal(size=(500, 99, 1))  # the posterior N(x / 2, 1 / 2)
>>> narrow = x[:, None] / 2 + 0.7 * (exact - x[:, None] / 2)
>>> curves = {name: interval_coverage(s, truth, levels) for name, s in [("exact", exact), ("narrow", narrow)]}
>>> for name, curve in curves.items():
...     print(name, curve[:, 0].round(2), coverage_test(curve[:, 0], levels, 500).p_value < 0.05)
exact [0.54 0.9 ] False
narrow [0.39 0.75] True
>>> band = coverage_band(levels, 500)
>>> print(band.low, band.high)
[0.452 0.87 ] [0.548 0.928]
>>> found = rank_test(posterior_ranks(narrow, truth), 99)
>>> isinstance(found, CalibrationTest), isinstance(band, CoverageBand), bool(found.p_value[0] < 0.05)
(True, True, True)
>>> distance = tarp(exact, truth, levels)
>>> density = expected_coverage(-((exact - x[:, None] / 2) ** 2)[..., 0], -((truth - x / 2) ** 2)[:, 0], levels)
>>> print(distance.round(2), density.round(2))
[0.49 0.9 ] [0.54 0.91]
"""

import functools
from typing import Annotated, NamedTuple

import numpy as np

from scorekit.arguments import Between, NonNegativeInt, PositiveInt, checked
from scorekit.checks import check, check_finite, check_not_nan
from scorekit.typing import ArrayLike, Numbers

_Levels = Annotated[Numbers, Between(0, 1, "both")]
"""Nominal coverages."""

_DRAWS = 10_000
"""Simulated curves of a calibrated posterior: the p-values of ``coverage_test`` are multiples of 1 / (1 + _DRAWS)."""
_ROUNDING = 1 + 1e-9
"""Ratio of tail probabilities that count as equal."""
_THRESHOLDS = 50
"""Most thresholds at which ``rank_test`` compares the distribution of the ranks."""


class CalibrationTest(NamedTuple):
    """The result of a test.

    Attributes:
      statistic: smallest two-sided binomial tail probability of the points of a curve; accuracy of a classifier.
      p_value: probability of a statistic at least as extreme if the posterior is exact.
    """

    statistic: np.ndarray
    p_value: np.ndarray


class CoverageBand(NamedTuple):
    """The coverages of an exact posterior, by level, from :func:`coverage_band`.

    Attributes:
      low: smallest coverage in the band, ``(L,)``.
      high: largest coverage in the band, ``(L,)``.
      standard_error: standard deviation ``sqrt(p (1 - p) / N)`` of the coverage, ``(L,)``.
    """

    low: np.ndarray
    high: np.ndarray
    standard_error: np.ndarray


@checked
def posterior_ranks(samples: ArrayLike, truth: ArrayLike, *, seed: NonNegativeInt = 0) -> np.ndarray:
    """The rank of the truth among the samples, ``sum_s [samples_s < truth]``, for simulation-based calibration.

    Uniform on 0, …, S if the posterior is exact and its samples are independent; ties are broken at random.

    Args:
      samples, truth: posterior samples of each simulation, ``(N, S, D)``, and its true parameters, ``(N, D)``.
      seed: seed of the draws, such as the order of ties.

    Returns:
      Integers ``(N, D)`` in 0, …, S.

    Source: Talts et al. 2018 (https://arxiv.org/abs/1804.06788).
    """
    samples, truth = _checked(samples, truth)
    count = samples.shape[1]
    return np.minimum(_place(samples, truth[:, None], seed) * (count + 1), count).astype(int)


@checked
def interval_coverage(samples: ArrayLike, truth: ArrayLike, levels: _Levels, *, seed: NonNegativeInt = 0) -> np.ndarray:
    """The fraction of simulations whose truth is in the central interval, ``|2 u - 1| <= level`` of its place u.

    Args:
      samples, truth: posterior samples of each simulation, ``(N, S, D)``, and its true parameters, ``(N, D)``.
      levels: nominal coverages ``(L,)``, increasing, in (0, 1).
      seed: seed of the draws, such as the order of ties.

    Returns:
      Coverages ``(L, D)``, to be compared with ``levels``: :func:`coverage_test`.

    >>> print(interval_coverage(np.arange(9.0).reshape(1, 9, 1), np.array([[4.0]]), [0.3, 0.9]))
    [[1.]
     [1.]]
    """
    samples, truth = _checked(samples, truth)
    return _curve(np.abs(2 * _place(samples, truth[:, None], seed) - 1), levels)


@checked
def expected_coverage(
    log_density_samples: ArrayLike, log_density_truth: ArrayLike, levels: _Levels, *, seed: NonNegativeInt = 0
) -> np.ndarray:
    """The fraction of simulations whose truth is in the region of highest density of the level.

    ``mean_n [#{s: q_n(samples_s) > q_n(truth)} / S <= level]`` with the posterior q_n; a region of level p holds a
    fraction p of the samples. One curve for all parameters; it sees a wrong width best in high dimension.

    Args:
      log_density_samples: ``log q_n`` of the samples, ``(N, S)``; a constant may be missing; -inf is allowed.
      log_density_truth: ``log q_n`` of the truth, ``(N,)``.
      levels: nominal coverages ``(L,)``, increasing, in (0, 1).
      seed: seed of the draws, such as the order of ties.

    Returns:
      Coverages ``(L,)``.

    Source: Hermans et al. 2022 (https://arxiv.org/abs/2110.06581).
    """
    named = {"log_density_samples": log_density_samples, "log_density_truth": log_density_truth}
    check_not_nan(**named)
    check(lambda x: x < np.inf, "below infinity, which would tie", **named)
    samples, truth = np.asarray(log_density_samples, float), np.asarray(log_density_truth, float)
    if samples.ndim != 2 or truth.shape != samples.shape[:1] or samples.size == 0:
        raise ValueError(
            "log_density_samples must be (N, S) and log_density_truth (N,), not empty, "
            f"got {samples.shape} and {truth.shape}"
        )
    return _curve(_place(-samples, -truth[:, None], seed), levels)


@checked
def tarp(
    samples: ArrayLike,
    truth: ArrayLike,
    levels: _Levels,
    *,
    references: ArrayLike | None = None,
    seed: NonNegativeInt = 0,
) -> np.ndarray:
    """The fraction of simulations whose truth is in the ball around a reference point that holds a fraction of samples.

    ``mean_n [#{s: |samples_s - r_n| < |truth - r_n|} / S <= level]``, distances in standard deviations of the truth:
    the coverage of balls around r_n, which needs no density.

    Args:
      samples, truth: posterior samples of each simulation, ``(N, S, D)``, and its true parameters, ``(N, D)``.
      levels: nominal coverages ``(L,)``, increasing, in (0, 1).
      references: reference points r_n, ``(N, D)``, drawn independently of the truth given the observation; by default
        truths of other simulations. Points that depend on the observation make the test sufficient.
      seed: seed of the draws, such as the order of ties.

    Returns:
      Coverages ``(L,)``.

    Source: Lemos et al. 2023 (https://arxiv.org/abs/2302.03026).
    """
    samples, truth = _checked(samples, truth)
    order = np.random.default_rng((seed, 1)).permutation(len(truth))
    if references is None:
        if len(truth) < 2:
            raise ValueError("references must be given for fewer than two simulations, got None")
        references = np.empty_like(truth)
        references[order] = truth[np.roll(order, 1)]
    check_finite(references=references)
    r = np.asarray(references, float)
    if r.shape != truth.shape:
        raise ValueError(f"references must be shaped like truth, {truth.shape}, got {r.shape}")
    unit = np.frexp(np.abs(truth).max(axis=0))[1]  # powers of 2, so that squares neither overflow nor vanish
    samples, truth, r = (np.ldexp(x, -unit) for x in (samples, truth, r))
    scale = truth.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    distance = lambda x: np.sqrt(np.sum(np.square((x - r[:, None]) / scale), axis=-1))
    return _curve(_place(distance(samples), distance(truth[:, None]), seed), levels)


@checked
def coverage_band(
    levels: _Levels, count: PositiveInt, confidence: Annotated[float, Between(0, 1, "both")] = 0.95
) -> CoverageBand:
    """The band that holds the whole curve of an exact posterior with probability ``confidence``.

    ``low_l / N`` and ``high_l / N`` are binomial quantiles of equal tails at each level, with the tail probability for
    which the band holds all L points at once; for one level it is the exact binomial interval.

    Args:
      levels, count: nominal coverages ``(L,)``, increasing, in (0, 1), and the number N of simulations.
      confidence: probability that the curve of an exact posterior stays in the band, up to its discreteness.

    Source: Säilynoja, Bürkner & Vehtari 2022 (https://arxiv.org/abs/2103.10522), by simulation.
    """
    from scipy.stats import binom

    levels = _checked_levels(levels)
    null = _null(tuple(levels), count)
    tested = (1 + np.searchsorted(null, null * _ROUNDING, side="right")) / (1 + _DRAWS)  # p-values, as of the test
    tail = np.max(null, where=tested <= 1 - confidence, initial=0.0) / 2

    def lowest(level):
        """The smallest count whose tail probability is above ``tail``."""
        k = binom.ppf(tail / _ROUNDING, count, level)
        return np.maximum(k + (binom.cdf(k, count, level) <= tail * _ROUNDING), 0)

    low, high = lowest(levels) / count, 1 - lowest(1 - levels) / count
    return CoverageBand(low, high, np.sqrt(levels * (1 - levels) / count))


@checked
def coverage_test(coverage: ArrayLike, levels: _Levels, count: PositiveInt) -> CalibrationTest:
    """The test whether coverages are binomial around their levels, at all levels together.

    ``statistic = min_l min(1, 2 P(K_l <= k_l), 2 P(K_l >= k_l))`` with ``K_l ~ Binomial(N, level_l)`` and ``k_l = N
    coverage_l``. Its distribution for an exact posterior is simulated with 10,000 curves, so that ``P(p <= a) <= a``.

    Args:
      coverage: coverages ``(L,)`` or ``(L, D)`` from :func:`interval_coverage`, :func:`expected_coverage` or
        :func:`tarp`.
      levels, count: nominal coverages ``(L,)``, increasing, in (0, 1), and the number N of simulations.

    Returns:
      Statistics and p-values ``()`` or ``(D,)``. For D parameters, ``D min(p)`` is the p-value of all together.
    """
    levels = _checked_levels(levels)
    check_finite(coverage=coverage)
    coverage = np.asarray(coverage, float)
    if coverage.ndim not in (1, 2) or coverage.shape[0] != len(levels) or not coverage.size:
        raise ValueError(f"coverage must be (L,) or (L, D) with L = {len(levels)}, got {coverage.shape}")
    if np.any((coverage < 0) | (coverage > 1)):
        raise ValueError(f"coverage must be in [0, 1], got {coverage}")
    found = _statistic(np.moveaxis(np.rint(coverage * count), 0, -1), levels, count)
    as_extreme = np.searchsorted(_null(tuple(levels), count), found * _ROUNDING, side="right")
    return CalibrationTest(found, (1 + as_extreme) / (1 + _DRAWS))


@checked
def rank_test(ranks: ArrayLike, num_samples: PositiveInt) -> CalibrationTest:
    """The test whether ranks are uniform, by their distribution function at up to 50 thresholds.

    ``P(rank < r) = r / (S + 1)``, tested as :func:`coverage_test` does.

    Args:
      ranks: ranks ``(N,)`` or ``(N, D)`` from :func:`posterior_ranks`.
      num_samples: number of samples S.

    Source: Säilynoja, Bürkner & Vehtari 2022 (https://arxiv.org/abs/2103.10522).
    """
    ranks = np.asarray(ranks)
    if ranks.ndim not in (1, 2) or not ranks.size or not np.issubdtype(ranks.dtype, np.integer):
        raise ValueError(f"ranks must be integers (N,) or (N, D), not empty, got {ranks.dtype} {ranks.shape}")
    if np.any((ranks < 0) | (ranks > num_samples)):
        raise ValueError(f"ranks must be from 0 to num_samples = {num_samples}, got {ranks.min()} to {ranks.max()}")
    thresholds = np.unique(np.linspace(1, num_samples, min(num_samples, _THRESHOLDS)).round())
    below = np.stack([np.mean(ranks < threshold, axis=0) for threshold in thresholds])
    return coverage_test(below, thresholds / (num_samples + 1), len(ranks))


def _checked(samples, truth) -> tuple[np.ndarray, np.ndarray]:
    check_finite(samples=samples, truth=truth)
    samples, truth = np.asarray(samples, float), np.asarray(truth, float)
    if samples.ndim != 3 or truth.shape != (samples.shape[0], samples.shape[2]) or samples.size == 0:
        raise ValueError(
            f"samples must be (N, S, D) and truth (N, D), not empty, got {samples.shape} and {truth.shape}"
        )
    return samples, truth


def _checked_levels(levels: _Levels) -> np.ndarray:
    levels = np.asarray(levels, float)
    if levels.ndim != 1 or np.any(np.diff(levels) <= 0):
        raise ValueError(f"levels must be (L,) and increasing, got {levels}")
    return levels


def _place(values: np.ndarray, truth: np.ndarray, seed: int) -> np.ndarray:
    """The place of ``truth`` ``(N, 1, ...)`` among values ``(N, S, ...)``, in (0, 1): uniform if it is one of them."""
    below, ties = np.sum(values < truth, axis=1), np.sum(values == truth, axis=1)
    uniform = np.random.default_rng(seed).random(below.shape)
    return (below + uniform * (ties + 1)) / (values.shape[1] + 1)


def _curve(place: np.ndarray, levels: _Levels) -> np.ndarray:
    return np.stack([np.mean(place <= level, axis=0) for level in _checked_levels(levels)])


def _statistic(counts: np.ndarray, levels: np.ndarray, count: int) -> np.ndarray:
    """The smallest two-sided tail probability of counts ``(..., L)``."""
    from scipy.stats import binom

    tails = np.minimum(binom.cdf(counts, count, levels), binom.sf(counts - 1, count, levels))
    return np.minimum(1.0, 2 * tails.min(axis=-1))


@functools.lru_cache(maxsize=64)
def _null(levels: tuple[float, ...], count: int) -> np.ndarray:
    """The statistics of simulated curves of an exact posterior, in order."""
    shares = np.diff(np.array([0.0, *levels, 1.0]))
    counts = np.random.default_rng(0).multinomial(count, shares, size=_DRAWS)
    return np.sort(_statistic(np.cumsum(counts, axis=1)[:, :-1], np.asarray(levels), count))
