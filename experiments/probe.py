"""A linear probe: how much of the class can be read off features by a linear map.

Ridge regression onto the indicator of the class, in closed form. The penalty is chosen by the accuracy of the
leave-one-out predictions on the training data, which are exact and cost nothing more:
``y_i - (y_i - yhat_i) / (1 - h_i)`` with the leverage ``h_i``, the i-th diagonal element of the map from y to yhat.
"""

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

PENALTIES = np.logspace(-5, 2, 15)
"""Relative to the number of examples: features are scaled to unit variance."""


class Probe(NamedTuple):
    """A fitted probe.

    Attributes:
      weights: ``(F, K)``, for the scaled features.
      bias: ``(K,)``.
      mean: of each feature, ``(F,)``.
      scale: standard deviation of each feature, ``(F,)``; 1 where it does not vary.
      penalty: the chosen one of :data:`PENALTIES`.
      left_out: the accuracy of the leave-one-out predictions: compare probes by it, not by the test data.
    """

    weights: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    penalty: float
    left_out: float


def fit_probe(features: np.ndarray, label: np.ndarray, num_classes: int) -> Probe:
    """Fits a probe.

    Args:
      features: ``(N, ...)``, flattened here.
      label: classes ``(N,)``.
      num_classes: K.

    Raises:
      ValueError: if the lengths differ or a feature is not finite.

    >>> x = np.array([[0.0], [0.1], [0.9], [1.0]])
    >>> accuracy(fit_probe(x, np.array([0, 0, 1, 1]), 2), np.array([[0.2], [0.7]]), np.array([0, 1]))
    1.0
    """
    x, n = _rows(features, label), len(label)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-9 * (1 + np.abs(mean)), scale, 1.0)
    x = (x - mean) / scale
    y = np.eye(num_classes)[label]
    bias = y.mean(axis=0)
    with threadpool_limits(1):  # more threads are slower at this size, by far when the cores are shared
        left, squares, right = _svd(x)
    inner, leverages = left.T @ (y - bias), np.square(left)
    best = None
    for penalty in PENALTIES[::-1]:  # of equally good ones the largest
        shrink = squares / (squares + n * penalty)
        fitted = bias + left @ (shrink[:, None] * inner)
        leverage = 1 / n + leverages @ shrink
        predicted = y - (y - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]
        left_out = float(np.mean(predicted.argmax(axis=1) == label))
        if best is None or left_out > best.left_out:
            weights = right @ ((shrink / np.sqrt(squares))[:, None] * inner)
            best = Probe(weights, bias, mean, scale, float(penalty), left_out)
    assert best is not None
    return best


def accuracy(probe: Probe, features: np.ndarray, label: np.ndarray) -> float:
    """The share of examples whose class the probe finds.

    Raises:
      ValueError: as :func:`fit_probe`.
    """
    x = (_rows(features, label) - probe.mean) / probe.scale
    return float(np.mean((x @ probe.weights + probe.bias).argmax(axis=1) == label))


def _svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``x = left diag(sqrt(squares)) right^T`` without its null space, by way of the smaller Gram matrix."""
    wide = x.shape[1] > x.shape[0]
    squares, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = squares > 1e-10 * max(squares[-1], 1e-300)
    squares, vectors = squares[kept], vectors[:, kept]
    other = (x.T if wide else x) @ vectors / np.sqrt(squares)
    return (vectors, squares, other) if wide else (other, squares, vectors)


def _rows(features: np.ndarray, label: np.ndarray) -> np.ndarray:
    x = np.asarray(features, np.float64).reshape(len(features), -1)
    if np.shape(label) != (len(x),):
        raise ValueError(f"features and label must have one length, got {len(x)} and {np.shape(label)}")
    if not np.isfinite(x).all():
        raise ValueError(f"features must be finite, {np.sum(~np.isfinite(x).all(axis=1))} of {len(x)} examples are not")
    return x
