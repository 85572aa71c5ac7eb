"""Metrics name arguments of which they would give another figure."""

import numpy as np
from errors import raising

from scorekit import metrics
from scorekit.metrics import FeatureStatistics

X, TWO = np.random.default_rng(0).normal(size=(8, 2)), metrics.feature_statistics(np.eye(3))
ONE = metrics.feature_statistics(np.ones((1, 2)))
SCORES, RIGHT = np.ones((3, 4)), np.eye(3, 4, dtype=bool)
INDEFINITE = np.diag([1.0, -3.0, 2.0])


def large(call):
    """A call with features beyond single precision, where a difference would be infinite or NaN."""
    return lambda: call(1e200 * np.tile(X, (2, 1)))


def imaginary(call):
    return lambda: call(X + 1j)


test_errors_name_the_argument = raising(
    [
        ("x must", lambda: metrics.energy_distance(X[:1], X)),
        ("same D", lambda: metrics.energy_distance(X, X[:, :1])),
        ("fake must", lambda: metrics.precision_recall(X, X[:3], k=3)),
        ("real must", lambda: metrics.density_coverage(X[:5], X, k=5)),
        ("parts must", lambda: metrics.merge_statistics([ONE, TWO])),
        ("parts must", lambda: metrics.merge_statistics([])),
        ("count of each of parts must", lambda: metrics.merge_statistics([TWO, TWO._replace(count=None)])),
        ("x must", lambda: metrics.fid(ONE, ONE)),
        ("y must", lambda: metrics.fid(TWO, FeatureStatistics(None, *ONE[1:]))),
        ("y must", lambda: metrics.fid(TWO, TWO._replace(covariance=np.triu(np.ones((3, 3)))))),
        ("y must", lambda: metrics.fid(TWO, TWO._replace(covariance=INDEFINITE))),
        ("of x must", lambda: metrics.fid(TWO._replace(mean=1e200 * np.ones(3)), TWO)),
        ("x must", lambda: metrics.fid(TWO._replace(mean=TWO.mean + 1j), TWO)),
        ("of fake must", large(lambda x: metrics.kid(X, x, subset_size=8))),
        ("of logits must", large(metrics.inception_score)),
        ("of features must", large(metrics.feature_statistics)),
        ("of y must", lambda: metrics.frechet_distance(X, 1e30 * X)),
        ("real must", imaginary(lambda x: metrics.kid(x, X, subset_size=8))),
        ("features must", imaginary(metrics.feature_statistics)),
        ("x must", imaginary(metrics.vendi_score)),
        ("features must", imaginary(lambda x: metrics.fit_linear_probe(x, np.arange(8) % 2, 2))),
        ("features and label must", lambda: metrics.fit_linear_probe(np.ones((3, 2)), np.array([0, 1]), 2)),
        ("label must", lambda: metrics.fit_reference_classifier(np.zeros((3, 4)), np.zeros(3, int))),
        ("x must", lambda: metrics.fit_reference_classifier(np.zeros((3, 4)), np.arange(2))),
        ("right must", lambda: metrics.retrieval_accuracy(SCORES, RIGHT & False)),
        ("right must", lambda: metrics.retrieval_accuracy(SCORES, RIGHT[:2])),
        ("right must", lambda: metrics.retrieval_accuracy(SCORES, RIGHT.astype(int))),
        ("scores must", lambda: metrics.retrieval_accuracy(SCORES[0], RIGHT[0])),
        ("N >= num_groups", lambda: metrics.jackknife_error(np.mean, np.zeros(3), num_groups=4)),
    ]
)
