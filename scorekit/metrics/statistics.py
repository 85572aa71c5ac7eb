"""Mean and covariance of features in float64, of parts of a set that are merged.

>>> parts = [feature_statistics(np.array([[0.0]])), feature_statistics(np.array([[2.0], [4.0]]))]
>>> merge_statistics(parts)
FeatureStatistics(count=3, mean=array([2.]), covariance=array([[4.]]))
>>> isinstance(parts[1], FeatureStatistics), merge_over_processes(parts[1]).count
(True, 2)
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from scorekit.checks import check_count
from scorekit.metrics._distances import float64_rows
from scorekit.typing import ArrayLike


class FeatureStatistics(NamedTuple):
    """The number, mean and covariance of features.

    Attributes:
      count: the number N of examples; None of statistics that came without it, which cannot be merged.
      mean: float64 ``(D,)``.
      covariance: float64 ``(D, D)``, divided by ``N - 1``; 0 for a single example.
    """

    count: int | None
    mean: np.ndarray
    covariance: np.ndarray


def feature_statistics(features: ArrayLike) -> FeatureStatistics:
    """The number of rows, their mean and their covariance, in float64 on the host.

    Args:
      features: ``(N, D)``, N >= 1; no value above 3.4e38.
    """
    x = float64_rows(1, features=features)[0]
    mean = x.mean(axis=0)
    x -= mean
    return FeatureStatistics(len(x), mean, x.T @ x / max(len(x) - 1, 1))


def merge_statistics(parts: Iterable[FeatureStatistics]) -> FeatureStatistics:
    """The statistics of a set from the statistics of its parts, exactly up to rounding.

    ``S = S_a + S_b + (m_a - m_b)(m_a - m_b)^T N_a N_b / (N_a + N_b)`` for the scatters ``S = (N - 1) covariance``.

    Args:
      parts: results of :func:`feature_statistics`, one at least, of equal D and with counts.

    Source: Chan et al. 1983, "Algorithms for computing the sample variance".
    """
    parts = list(parts)
    if not parts:
        raise ValueError("parts must hold at least one part, got none")
    for part in parts:
        check_count(**{"count of each of parts": part.count})  # type: ignore[arg-type]  (None is the error)
    if len({np.shape(part.mean) for part in parts}) > 1:
        raise ValueError(f"parts must have the same D, got means of {[np.shape(part.mean) for part in parts]}")
    return functools.reduce(_merged, parts)


def merge_over_processes(part: FeatureStatistics) -> FeatureStatistics:
    """The statistics of the examples of all processes of ``jax.distributed``, in each of them; every process calls it.

    Args:
      part: statistics of the examples of this process; the number of examples may differ.
    """
    if jax.process_count() == 1:
        return part
    from jax.experimental import multihost_utils

    values = np.concatenate([[float(part.count or 0)], part.mean, part.covariance.ravel()])
    words = multihost_utils.process_allgather(values.view(np.uint32))  # float64 would travel as float32
    size = len(part.mean)
    return merge_statistics(
        FeatureStatistics(int(found[0]), found[1 : 1 + size], found[1 + size :].reshape(size, size))
        for found in np.ascontiguousarray(words).view(np.float64)
    )


def _merged(a: FeatureStatistics, b: FeatureStatistics) -> FeatureStatistics:
    assert a.count is not None
    assert b.count is not None
    count, shift = a.count + b.count, b.mean - a.mean
    scatter = (a.count - 1) * a.covariance + (b.count - 1) * b.covariance
    scatter += np.outer(shift, shift) * (a.count * b.count / count)
    return FeatureStatistics(count, a.mean + shift * (b.count / count), scatter / max(count - 1, 1))
