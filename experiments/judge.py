"""The judge of class-conditional samples: a support vector machine from outside the toolkit.

It is trained on real scans and never sees the model. On the ``sklearn_digits`` split it scores 0.993 on the 297 real
test scans. ``C = 10`` and ``gamma = 2 / (D var(x))`` were chosen by ten-fold cross-validation on the 1,500 training
scans (0.992).
"""

import numpy as np
from sklearn.svm import SVC

FIT_LIMIT = 10_000
"""The most examples a judge is fitted to: the cost grows with their square."""


def fit_judge(x: np.ndarray, label: np.ndarray) -> SVC:
    """A classifier of images.

    Args:
      x: images ``(N, ...)`` in [-1, 1]; above 10,000, a fixed random subset is used.
      label: classes ``(N,)``.

    Returns:
      The fitted SVC.

    Raises:
      ValueError: if the lengths differ, a value is not finite, or there are fewer than two classes.

    >>> x = np.array([[-1.0], [-0.9], [0.9], [1.0]])
    >>> fit_judge(x, np.array([3, 3, 7, 7])).predict([[0.8]])
    array([7])
    """
    rows, label = _check(x=x, label=label)
    if len(np.unique(label)) < 2:
        raise ValueError(f"label must hold at least two classes, got {np.unique(label)}")
    if len(rows) > FIT_LIMIT:
        chosen = np.random.default_rng(0).choice(len(rows), FIT_LIMIT, replace=False)
        rows, label = rows[chosen], label[chosen]
    variance = float(rows.var())
    gamma = 2.0 / (rows.shape[1] * variance) if variance > 0 else 1.0
    return SVC(C=10.0, gamma=gamma).fit(rows, label)  # type: ignore[arg-type]  (floats are allowed)


def class_accuracy(judge: SVC, samples: np.ndarray, labels: np.ndarray) -> float:
    """The share of samples in which the judge sees the class that was asked for.

    Args:
      judge: from :func:`fit_judge`, on real training scans.
      samples: images ``(N, ...)`` in [-1, 1].
      labels: the classes asked for ``(N,)``.

    Returns:
      An accuracy in [0, 1].

    Raises:
      ValueError: if the lengths differ or a value is not finite.
    """
    rows, labels = _check(samples=samples, labels=labels)
    return float(np.mean(judge.predict(rows) == labels))


def real_accuracy(judge: SVC, test_x: np.ndarray, test_label: np.ndarray) -> float:
    """The accuracy of the judge itself on real test scans: what :func:`class_accuracy` is read beside."""
    return class_accuracy(judge, test_x, test_label)


def classification_accuracy_score(
    samples: np.ndarray, labels: np.ndarray, test_x: np.ndarray, test_label: np.ndarray
) -> float:
    """The accuracy on real test scans of a judge trained on samples (Ravuri and Vinyals 2019, arXiv:1905.10887).

    Unlike :func:`class_accuracy` it falls when the samples lack variety.

    Args:
      samples: generated images ``(N, ...)`` in [-1, 1].
      labels: their classes ``(N,)``.
      test_x: real images ``(M, ...)`` in [-1, 1].
      test_label: their classes ``(M,)``.

    Returns:
      An accuracy in [0, 1].

    Raises:
      ValueError: as :func:`fit_judge` and :func:`class_accuracy`.
    """
    return class_accuracy(fit_judge(samples, labels), test_x, test_label)


def _check(**named: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images as rows ``(N, D)`` and labels ``(N,)``."""
    (name, x), (label_name, label) = named.items()
    x, label = np.asarray(x, np.float64), np.asarray(label)
    if x.ndim < 2 or label.shape != x.shape[:1] or len(x) == 0:
        raise ValueError(f"{name} must be (N, ...) and {label_name} (N,) with N >= 1, got {x.shape} and {label.shape}")
    broken = np.sum(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))
    if broken:
        raise ValueError(f"{name} must be finite, {broken} of {len(x)} are not")
    return x.reshape(len(x), -1), label
