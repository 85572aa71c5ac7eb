"""Linear probes: how well a linear map of features predicts the class.

Ridge regression onto one-hot labels, in closed form. The penalty is selected by the leave-one-out accuracy on the
training data, which is exact and needs no refitting: the prediction without example i is
``y_i - (y_i - yhat_i) / (1 - h_i)`` with the leverage ``h_i``, the i-th diagonal element of the map from y to yhat.
Everything is computed by numpy in float64 on the host.

>>> x = np.array([[0.0], [0.1], [0.9], [1.0]])
>>> probe = fit_linear_probe(x, np.array([0, 0, 1, 1]), 2)
>>> isinstance(probe, LinearProbe), probe.weights.shape, probe.leave_one_out_accuracy
(True, (1, 2), 1.0)
>>> probe_accuracy(probe, np.array([[0.2], [0.7]]), np.array([0, 0]))
0.5
"""

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np

from scorekit.arguments import Between, Each, PositiveInt, checked
from scorekit.checks import check_classes, check_finite
from scorekit.typing import ArrayLike

_PENALTIES = tuple(float(penalty) for penalty in np.logspace(-5, 2, 15))
"""Relative to the number of examples; features are scaled to unit variance."""


class LinearProbe(NamedTuple):
    """A fitted probe: ``argmax_k ((x - mean) / scale @ weights + bias)_k``.

    Attributes:
      weights: ``(F, K)``, for standardised features.
      bias: ``(K,)``.
      mean: mean of each feature, ``(F,)``.
      scale: standard deviation of each feature, ``(F,)``; 1 for constant features.
      penalty: the selected penalty.
      leave_one_out_accuracy: accuracy on the training data. Compare probes by it, not by the test data.
    """

    weights: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    penalty: float
    leave_one_out_accuracy: float


@checked
def fit_linear_probe(
    features: ArrayLike,
    label: ArrayLike,
    num_classes: PositiveInt,
    *,
    penalties: Annotated[Sequence[float], Each(Between(0, open="low"), 1)] = _PENALTIES,
) -> LinearProbe:
    """Fits a linear probe.

    Args:
      features: ``(N, ...)``, flattened per example, with as many values in the fit as in the test.
      label: integer classes ``(N,)``.
      num_classes: number of classes K.
      penalties: candidates; of equally accurate ones the largest is selected.

    Source: Alain & Bengio 2017, "Understanding intermediate layers using linear classifier probes"
    (https://arxiv.org/abs/1610.01644); Hastie, Tibshirani & Friedman 2009, for the leave-one-out formula.
    """
    x, label = _check(features, label, num_classes)
    n = len(label)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-9 * (1 + np.abs(mean)), scale, 1.0)
    x = (x - mean) / scale
    y = np.eye(num_classes)[label]
    bias = y.mean(axis=0)
    with _one_thread():
        left, squares, right = _svd(x)
    projected, leverages = left.T @ (y - bias), np.square(left)
    best: Any = None
    for penalty in sorted(penalties, reverse=True):
        shrink = squares / (squares + n * penalty)
        fitted = bias + left @ (shrink[:, None] * projected)
        leverage = 1 / n + leverages @ shrink
        predicted = y - (y - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]
        accuracy = float(np.mean(predicted.argmax(axis=1) == label))
        if best is None or accuracy > best.leave_one_out_accuracy:
            weights = right @ ((shrink / np.sqrt(squares))[:, None] * projected)
            best = LinearProbe(weights, bias, mean, scale, float(penalty), accuracy)
    return best


def probe_accuracy(probe: LinearProbe, features: ArrayLike, label: ArrayLike) -> float:
    """The fraction of examples whose class is predicted correctly, in [0, 1].

    Args:
      probe: result of :func:`fit_linear_probe`.
      features: ``(N, ...)``, flattened per example, with as many values in the fit as in the test.
      label: integer classes ``(N,)``.
    """
    x, label = _check(features, label, len(probe.bias))
    if x.shape[1] != len(probe.mean):
        raise ValueError(f"features must hold the {len(probe.mean)} features of the probe, got {x.shape[1]}")
    x = (x - probe.mean) / probe.scale
    return float(np.mean((x @ probe.weights + probe.bias).argmax(axis=1) == label))


def _svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``x = left diag(sqrt(squares)) right^T`` without its null space, from the smaller Gram matrix."""
    wide = x.shape[1] > x.shape[0]
    squares, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = squares > 1e-10 * max(squares[-1], 1e-300)
    squares, vectors = squares[kept], vectors[:, kept]
    other = (x.T if wide else x) @ vectors / np.sqrt(squares)
    return (vectors, squares, other) if wide else (other, squares, vectors)


def _one_thread():
    """Limits BLAS to one thread where threadpoolctl is installed: at these sizes more threads are slower."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return contextlib.nullcontext()
    return threadpool_limits(1)


def _check(features: ArrayLike, label: ArrayLike, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    label = np.asarray(label)
    check_finite(features=features)
    x = np.asarray(features, np.float64)
    if x.ndim < 1 or not x.size:
        raise ValueError(f"features must be (N, ...) with at least one example, got {x.shape}")
    x = x.reshape(len(x), -1)
    if label.shape != (len(x),):
        raise ValueError(f"features and label must be of equal length, got {len(x)} and {label.shape}")
    check_classes(num_classes, label=label)
    return x, label
