"""How well a score tells two sets apart. ``outside`` is the positive class; larger scores mean more foreign."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.trees import check
from scorekit.typing import Array, ArrayLike, Key


def _scores(inside: ArrayLike, outside: ArrayLike) -> tuple[Array, Array]:
    arrays = jnp.asarray(inside, float), jnp.asarray(outside, float)
    for name, x in zip(("inside", "outside"), arrays, strict=True):
        if x.ndim != 1 or x.shape[0] < 1:
            raise ValueError(f"{name} must have shape (N,) with N >= 1, got {x.shape}")
    return arrays


def _at_least(x: Array, values: Array) -> Array:
    """For each value, how many of ``x`` are at least as large."""
    return x.shape[0] - jnp.searchsorted(jnp.sort(x), values, side="left")


def auroc(inside: ArrayLike, outside: ArrayLike) -> Array:
    """The area under the ROC curve, ``P(outside > inside) + P(outside = inside) / 2``.

    Args:
      inside: scores of in-distribution examples ``(N,)``.
      outside: scores of out-of-distribution examples ``(M,)``.

    Returns:
      A scalar in [0, 1]: 1/2 for sets that cannot be told apart, and 1 minus it if they change places.

    Raises:
      ValueError: if a shape is not allowed.

    >>> print(auroc([0.0, 1.0], [1.0, 2.0]))
    0.875
    """
    inside, outside = _scores(inside, outside)
    ordered = jnp.sort(inside)
    below = jnp.searchsorted(ordered, outside, side="left")
    not_above = jnp.searchsorted(ordered, outside, side="right")
    return jnp.sum(0.5 * (below + not_above)) / (inside.shape[0] * outside.shape[0])


def aupr(inside: ArrayLike, outside: ArrayLike) -> Array:
    """The area under the precision-recall curve as average precision, with ``outside`` as the positive class.

    The mean over ``outside`` of the precision at the threshold of each. For scores without any information it is the
    share of ``outside``, so that it can only be compared between sets of the same proportions.

    Args:
      inside: scores of in-distribution examples ``(N,)``.
      outside: scores of out-of-distribution examples ``(M,)``.

    Raises:
      ValueError: if a shape is not allowed.

    >>> print(aupr([0.0, 1.5], [1.0, 2.0]).round(4))
    0.8333
    """
    inside, outside = _scores(inside, outside)
    found = _at_least(outside, outside)
    return jnp.mean(found / (found + _at_least(inside, outside)))


def fpr_at_tpr(inside: ArrayLike, outside: ArrayLike, tpr: ArrayLike = 0.95) -> Array:
    """The share of foreign examples that pass when ``tpr`` of the in-distribution ones do: FPR95 at the default.

    The threshold is the smallest score that lets at least ``tpr`` of ``inside`` pass (in-distribution counts as
    positive here, as is usual for this number).

    Args:
      inside: scores of in-distribution examples ``(N,)``.
      outside: scores of out-of-distribution examples ``(M,)``.
      tpr: in (0, 1].

    Raises:
      ValueError: if a shape or ``tpr`` is not allowed.

    >>> print(fpr_at_tpr(jnp.arange(20.0), jnp.array([5.0, 18.0, 19.0, 30.0])))
    0.5
    """
    inside, outside = _scores(inside, outside)
    check(lambda p: (p > 0) & (p <= 1), "in (0, 1]", tpr=tpr)
    n = inside.shape[0]
    rank = jnp.ceil(jnp.asarray(tpr, float) * n * (1.0 - 4 * jnp.finfo(float).eps)).astype(int) - 1
    return jnp.mean(outside <= jnp.sort(inside)[jnp.clip(rank, 0, n - 1)])


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    value: Array
    low: Array
    high: Array


def bootstrap_interval(
    key: Key,
    metric: Callable[[Array, Array], Array],
    inside: ArrayLike,
    outside: ArrayLike,
    *,
    level: ArrayLike = 0.95,
    resamples: int = 1000,
) -> Interval:
    """The percentile bootstrap of a metric: both sets are drawn anew with replacement.

    Args:
      key: PRNG key.
      metric: such as :func:`auroc`.
      inside: scores of in-distribution examples ``(N,)``.
      outside: scores of out-of-distribution examples ``(M,)``.
      level: of confidence, in (0, 1).
      resamples: how often.

    Returns:
      An :class:`Interval`.

    Raises:
      ValueError: if a shape, ``level`` or ``resamples`` is not allowed.

    >>> inside, outside = jnp.arange(100.0), jnp.arange(100.0) + 20.0
    >>> found = bootstrap_interval(jax.random.key(0), auroc, inside, outside)
    >>> bool(found.low < found.value) and bool(found.value < found.high)
    True

    Source: Efron and Tibshirani 1993, ch. 13.
    """
    inside, outside = _scores(inside, outside)
    check(lambda a: (a > 0) & (a < 1), "in (0, 1)", level=level)
    if resamples < 1:
        raise ValueError(f"resamples must be >= 1, got {resamples}")

    def once(key):
        drawn = [
            x[jax.random.randint(k, x.shape, 0, x.shape[0])]
            for k, x in zip(jax.random.split(key), (inside, outside), strict=True)
        ]
        return metric(*drawn)

    values = jax.lax.map(once, jax.random.split(key, resamples), batch_size=16)
    tail = 0.5 * (1.0 - jnp.asarray(level, float))
    low, high = jnp.quantile(values, jnp.stack([tail, 1.0 - tail]))
    return Interval(metric(inside, outside), low, high)
