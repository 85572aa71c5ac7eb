"""Out-of-distribution detection by a score: larger scores are evidence for out-of-distribution, the positive class.

>>> in_scores, out_scores = jnp.array([0.0, 1.0]), jnp.array([1.0, 2.0])
>>> print(auroc(in_scores, out_scores), aupr(in_scores + 0.5, out_scores).round(4))
0.875 0.8333
>>> print(fpr_at_tpr(jnp.arange(20.0), jnp.array([5.0, 18.0, 19.0, 30.0])))
0.5
>>> found = Interval(*bootstrap_interval(jax.random.key(0), auroc, jnp.arange(100.0), jnp.arange(100.0) + 20.0))
>>> bool(found.low < found.value) and bool(found.value < found.high)
True
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import Between, PositiveFraction, PositiveInt, checked
from scorekit.checks import check_finite, check_real, nan_unless_finite
from scorekit.typing import Array, ArrayLike, Key


def _scores(in_scores: ArrayLike, out_scores: ArrayLike) -> tuple[Array, Array]:
    check_real(in_scores=in_scores, out_scores=out_scores)
    arrays = jnp.asarray(in_scores, float), jnp.asarray(out_scores, float)
    for name, x in zip(("in_scores", "out_scores"), arrays, strict=True):
        if x.ndim != 1 or x.shape[0] < 1:
            raise ValueError(f"{name} must have shape (N,) with N >= 1, got {x.shape}")
    check_finite(in_scores=arrays[0], out_scores=arrays[1])
    return arrays


def auroc(in_scores: ArrayLike, out_scores: ArrayLike) -> Array:
    """The area under the ROC curve, ``P(out_scores > in_scores) + P(out_scores = in_scores) / 2``.

    1/2 for indistinguishable sets; exchanging the sets gives 1 minus the value.

    Args:
      in_scores, out_scores: scores of in-distribution ``(N,)`` and of out-of-distribution examples ``(M,)``.

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC)
    curve".
    """
    in_scores, out_scores = _scores(in_scores, out_scores)
    ordered = jnp.sort(in_scores)
    below = jnp.searchsorted(ordered, out_scores, side="left")
    not_above = jnp.searchsorted(ordered, out_scores, side="right")
    area = jnp.sum(0.5 * (below + not_above)) / float(in_scores.shape[0] * out_scores.shape[0])
    return nan_unless_finite(area.astype(in_scores.dtype), in_scores, out_scores)


def aupr(in_scores: ArrayLike, out_scores: ArrayLike) -> Array:
    """The area under the precision-recall curve as average precision, with ``out_scores`` as the positive class.

    The mean over ``out_scores`` of the precision at the threshold of each. For uninformative scores it is the
    fraction of ``out_scores``, so that it can only be compared between sets of the same proportions.

    Args:
      in_scores, out_scores: scores of in-distribution ``(N,)`` and of out-of-distribution examples ``(M,)``.
    """
    in_scores, out_scores = _scores(in_scores, out_scores)
    at_least = lambda x: x.shape[0] - jnp.searchsorted(jnp.sort(x), out_scores, side="left")
    found, alarms = (at_least(x).astype(out_scores.dtype) for x in (out_scores, in_scores))
    return nan_unless_finite(jnp.mean(found / (found + alarms)), in_scores, out_scores)


@checked
def fpr_at_tpr(in_scores: ArrayLike, out_scores: ArrayLike, tpr: PositiveFraction[float] = 0.95) -> Array:
    """The fraction of out-of-distribution examples accepted with a fraction ``tpr`` of the others: FPR95 by default.

    ``fraction = mean_j [out_scores[j] <= q]`` with the threshold q, the smallest score that accepts at least ``tpr`` of
    ``in_scores`` (in-distribution is the positive class here, as is usual for this metric).

    Args:
      in_scores, out_scores: scores of in-distribution ``(N,)`` and of out-of-distribution examples ``(M,)``.
      tpr: fraction of ``in_scores`` that are accepted.

    Source: Liang, Li and Srikant 2018, "Enhancing the reliability of out-of-distribution image detection in neural
    networks" (https://arxiv.org/abs/1706.02690).
    """
    in_scores, out_scores = _scores(in_scores, out_scores)
    fraction = jnp.asarray(tpr, float)
    n = in_scores.shape[0]
    rank = jnp.ceil(fraction * n * (1.0 - 4 * jnp.finfo(float).eps)).astype(int) - 1
    accepted = out_scores <= jnp.sort(in_scores)[jnp.clip(rank, 0, n - 1)]
    share = jnp.where((fraction > 0) & (fraction <= 1), jnp.mean(accepted, dtype=out_scores.dtype), jnp.nan)
    return nan_unless_finite(share, in_scores, out_scores)


class Interval(NamedTuple):
    """An estimate and its confidence interval, from :func:`bootstrap_interval`.

    Attributes:
      value: the estimate.
      low: the lower end of the interval.
      high: its upper end.
    """

    value: Array
    low: Array
    high: Array


@checked
def bootstrap_interval(
    key: Key,
    metric: Callable[[Array, Array], Array],
    in_scores: ArrayLike,
    out_scores: ArrayLike,
    *,
    level: Annotated[float, Between(0, 1, "both")] = 0.95,
    num_resamples: PositiveInt = 1000,
) -> Interval:
    """The percentile bootstrap interval of a metric: both sets are resampled with replacement.

    Args:
      key: PRNG key.
      metric: function of both sets, such as :func:`auroc`.
      in_scores, out_scores: scores of in-distribution ``(N,)`` and of out-of-distribution examples ``(M,)``.
      level: confidence level.
      num_resamples: number of resamples.

    Source: Efron and Tibshirani 1993, ch. 13.
    """
    in_scores, out_scores = _scores(in_scores, out_scores)

    def once(key):
        drawn = [
            x[jax.random.randint(k, x.shape, 0, x.shape[0])]
            for k, x in zip(jax.random.split(key), (in_scores, out_scores), strict=True)
        ]
        return metric(*drawn)

    values = jax.lax.map(once, jax.random.split(key, num_resamples), batch_size=16)
    tail = 0.5 * (1.0 - jnp.asarray(level, float))
    low, high = jnp.quantile(values, jnp.stack([tail, 1.0 - tail]))
    return nan_unless_finite(Interval(metric(in_scores, out_scores), low, high), in_scores, out_scores)
