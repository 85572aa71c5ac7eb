"""The metrics that papers compute on features of the Inception network, on the host in float64.

The output of :class:`scorekit.metrics.InceptionV3` that each takes: FID, KID, precision and recall
(:func:`scorekit.metrics.precision_recall`) "2048", the sFID "spatial", the Inception score "logits_unbiased".

>>> a = FeatureStatistics(None, np.zeros(1), np.array([[1.0]]))
>>> b = FeatureStatistics(None, np.array([3.0]), np.array([[4.0]]))
>>> fid(a, b)  # 3^2 + (2 - 1)^2
10.0
>>> x = np.random.default_rng(0).normal(size=(40, 3))
>>> KernelDistance(*kid(x, x + 1.0, num_subsets=5, subset_size=20)).mean > 1.0
True
>>> logits = 100.0 * np.eye(4)[np.arange(40) % 4]  # four classes, equally often and without doubt
>>> round(InceptionScore(*inception_score(logits, num_splits=2)).mean, 6)
4.0
"""

import itertools
from typing import Annotated, NamedTuple

import numpy as np

from scorekit.arguments import Count, PositiveInt, checked
from scorekit.checks import check_finite
from scorekit.metrics._distances import LARGEST, check_largest, float64_rows
from scorekit.metrics.statistics import FeatureStatistics
from scorekit.typing import ArrayLike


class KernelDistance(NamedTuple):
    """The result of :func:`kid`; slightly negative means are possible.

    Attributes:
      mean, std: mean and standard deviation over the subsets.
    """

    mean: float
    std: float


class InceptionScore(NamedTuple):
    """The result of :func:`inception_score`.

    Attributes:
      mean, std: mean and standard deviation over the splits.
    """

    mean: float
    std: float


def fid(x: FeatureStatistics, y: FeatureStatistics) -> float:
    """The Fréchet distance of two Gaussians: the FID on features "2048", the sFID on "spatial".

    ``|m_x - m_y|^2 + tr(S_x + S_y) - 2 sum(singular values of R_x R_y^T)`` with ``S = R^T R``: the trace of ``(S_x
    S_y)^(1/2)`` without a root of a product, which is inexact where there are fewer examples than features. It is
    squared, and at least 0 up to rounding.

    Args:
      x: result of :func:`scorekit.metrics.feature_statistics`, of two examples or more.
      y: another, of the same D. A covariance must be symmetric, with eigenvalues of at least ``-1e-5`` of the largest.

    Source: Heusel et al. 2017 (https://arxiv.org/abs/1706.08500).
    """
    means, covariances = zip(*(_gaussian(name, part) for name, part in (("x", x), ("y", y))), strict=True)
    if means[0].shape != means[1].shape:
        raise ValueError(f"y must have the D of x, {len(means[0])}, got {len(means[1])}")
    overlap = _overlap(*map(_factor, ("x", "y"), covariances))
    return float(((means[0] - means[1]) ** 2).sum() + sum(map(np.trace, covariances)) - 2.0 * overlap)


@checked
def kid(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    num_subsets: PositiveInt = 100,
    subset_size: Annotated[int, Count(2)] = 1000,
    seed: Annotated[int, Count(0, 2**32 - 1)] = 2020,
) -> KernelDistance:
    """The kernel Inception distance: the unbiased squared maximum mean discrepancy of subsets.

    The kernel is ``(x . y / D + 1)^3``. The subsets are drawn as by torch-fidelity with the same seed.

    Args:
      real: features ``(N, D)``, N >= ``subset_size``; no value above 3.4e38.
      fake: features ``(M, D)``, M >= ``subset_size``.
      num_subsets: the number of subsets, each drawn without replacement.
      subset_size: the number of examples in each.
      seed: seed of the draws.

    Source: Bińkowski et al. 2018 (https://arxiv.org/abs/1801.01401).
    """
    real, fake = float64_rows(subset_size, real=real, fake=fake)
    draw, found = np.random.RandomState(seed), []
    for _ in range(num_subsets):
        x = fake[draw.choice(len(fake), subset_size, replace=False)]
        y = real[draw.choice(len(real), subset_size, replace=False)]
        across = _kernel(x, y).mean()
        found.append(_mean_of_others(_kernel(x, x)) + _mean_of_others(_kernel(y, y)) - 2.0 * across)
    return KernelDistance(float(np.mean(found)), float(np.std(found)))


@checked
def inception_score(logits: ArrayLike, *, num_splits: PositiveInt = 10) -> InceptionScore:
    """``exp E[KL(p(class | image) || p(class))]`` of parts of the samples, in their order.

    Samples that are ordered by class must be shuffled first: torch-fidelity does, with ``RandomState(2020)``.

    Args:
      logits: ``(N, classes)``, "logits_unbiased" of the network, N >= ``num_splits``.
      num_splits: the number of parts.

    Source: Salimans et al. 2016 (https://arxiv.org/abs/1606.03498).
    """
    (logits,) = float64_rows(num_splits, logits=logits)
    log_p = logits - logits.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    bounds = [i * len(log_p) // num_splits for i in range(num_splits + 1)]
    scores = []
    for start, stop in itertools.pairwise(bounds):
        part, p = log_p[start:stop], np.exp(log_p[start:stop])
        # a class that no image can have, to rounding, contributes nothing
        log_mean = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
        scores.append(np.exp((p * (part - log_mean)).sum(axis=1).mean()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _gaussian(name: str, part: FeatureStatistics) -> tuple[np.ndarray, np.ndarray]:
    check_finite(**{name: (part.mean, part.covariance)})
    mean, covariance = np.asarray(part.mean, np.float64), np.asarray(part.covariance, np.float64)
    for value in (mean, covariance):
        check_largest(LARGEST, **{name: value})
    if mean.ndim != 1 or covariance.shape != (*mean.shape, *mean.shape):
        raise ValueError(f"{name} must have a mean (D,) and a covariance (D, D), got {mean.shape}, {covariance.shape}")
    if part.count is not None and part.count < 2:
        raise ValueError(f"{name} must be of at least 2 examples, got {part.count}")
    if not np.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-8 * np.abs(covariance).max(initial=0.0)):
        raise ValueError(f"{name} must have a symmetric covariance")
    return mean, covariance


def _factor(name: str, covariance: np.ndarray) -> np.ndarray:
    """R with ``R^T R`` the covariance; it has fewer rows than columns where the covariance is singular."""
    try:
        return np.linalg.cholesky(covariance).T
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        if values[0] < -1e-5 * np.abs(values).max():  # more than a covariance in float32 has by rounding
            raise ValueError(
                f"{name} must have a covariance without negative eigenvalues, got {values[0]:.3g}"
            ) from None
        kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
        return np.sqrt(values[kept])[:, None] * vectors.T[kept]


def _overlap(x: np.ndarray, y: np.ndarray) -> float:
    """The sum of the singular values of ``x y^T``: of square factors by the eigenvalues of its square, a fourth of the
    cost; what these lose of the values that are 0 but for rounding matters where a covariance is singular only."""
    product = x @ y.T
    if x.shape == y.shape == (x.shape[1], x.shape[1]):
        return float(np.sqrt(np.maximum(np.linalg.eigvalsh(product @ product.T), 0.0)).sum())
    return float(np.linalg.svd(product, compute_uv=False).sum())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def _mean_of_others(kernel: np.ndarray) -> float:
    """The mean without the diagonal."""
    n = len(kernel)
    return (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
