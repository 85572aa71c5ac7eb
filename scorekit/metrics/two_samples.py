"""The two-sample test by a classifier, of samples of a posterior and exact ones, or of any two sets."""

from typing import Annotated, Any

import numpy as np

from scorekit.arguments import Count, NonNegativeInt, checked
from scorekit.checks import check_finite
from scorekit.metrics.calibration import CalibrationTest
from scorekit.typing import ArrayLike


@checked
def two_sample_test(
    x: ArrayLike,
    y: ArrayLike,
    classifier: Any = None,
    *,
    num_folds: Annotated[int, Count(2)] = 5,
    seed: NonNegativeInt = 1,
) -> CalibrationTest:
    """The accuracy of a classifier that tells two sets of samples apart (C2ST): 1/2 for equal distributions.

    ``statistic = mean over folds of the accuracy`` on the fold that was not fitted to; its p-value is
    ``P(z > (statistic - 1/2) / std)`` for a normal z and ``std^2 = (1 + k / (k - 1)) / (8 N)`` with k folds. Folds
    share what they are fitted to, so that the variance is larger than binomial, ``1 / (8 N)``, by about this factor
    (1.5 for quadratic discriminants, 2.3 for the default on 2 x 200 equal samples). Samples are standardised by x.

    Args:
      x: samples ``(N, D)``, such as a reference posterior.
      y: as many samples, ``(N, D)``, such as of the posterior that is tested.
      classifier: a scikit-learn classifier; by default the protocol of the benchmark sbibm, two hidden layers of 10 D
        units, at most 10,000 iterations of Adam.
      num_folds: number of parts of the cross-validation, each with as many of x as of y.
      seed: seed of the folds and of the default classifier.

    >>> from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    >>> x, y = np.random.default_rng(0).normal(size=(2, 400, 2))
    >>> for scale in (1.0, 0.5):
    ...     found = two_sample_test(x, scale * y, QuadraticDiscriminantAnalysis())
    ...     print(f"{found.statistic:.2f}", found.p_value < 0.05)
    0.47 False
    0.75 True

    Source: Lopez-Paz & Oquab 2017 (https://arxiv.org/abs/1610.06545); Lueckmann et al. 2021 (sbibm,
    https://arxiv.org/abs/2101.04653); Nadeau & Bengio 2003, "Inference for the generalization error", for the variance.
    """
    from scipy.stats import norm
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    check_finite(x=x, y=y)
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 2 or x.shape != y.shape or len(x) < num_folds or x.shape[1] < 1:
        raise ValueError(
            f"x and y must be (N, D) of one shape with N >= num_folds = {num_folds}, got {x.shape} and {y.shape}"
        )
    unit = np.frexp(np.abs(x).max(axis=0))[1]  # powers of 2, so that squares neither overflow nor vanish
    x, y = np.ldexp(x, -unit), np.ldexp(y, -unit)
    mean, scale = x.mean(axis=0), x.std(axis=0, ddof=1)
    if not np.all(scale > 0):
        raise ValueError(f"x must vary in every column, got the standard deviations {scale}")
    samples, label = (np.concatenate([x, y]) - mean) / scale, np.repeat([0, 1], len(x))
    if classifier is None:
        hidden = (10 * x.shape[1],) * 2
        classifier = MLPClassifier(hidden, max_iter=10_000, random_state=seed)
        samples = samples.astype(np.float32)  # as in the benchmark
    cuts = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # products of a few hundred rows: more threads wait for each other
        scores = cross_val_score(classifier, samples, label, cv=cuts)
    if not np.all(np.isfinite(scores)):
        raise ValueError(f"classifier must have a finite accuracy in every fold, got {scores}")
    std = np.sqrt((1 + num_folds / (num_folds - 1)) / (8 * len(x)))
    return CalibrationTest(np.mean(scores), norm.sf((np.mean(scores) - 0.5) / std))
