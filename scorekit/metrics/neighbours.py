"""Fidelity and coverage of samples by k nearest neighbours.

The ball of a real point has its k-th nearest other real point on its boundary; balls are closed. In float32
distances below about 1e-3 of the spread of the points are not resolved.

>>> x = jnp.arange(8.0)[:, None]
>>> precision_recall(x, x[:5] + 0.5, k=1) == PrecisionRecall(precision=1.0, recall=0.75)
True
>>> density_coverage(x, x[:4], k=1) == DensityCoverage(density=2.75, coverage=0.625)
True
>>> print(nearest_distances(jnp.array([[0.0, 0.0], [3.0, 4.0]]), jnp.array([[3.0, 9.0], [0.0, 0.0]])))
[0. 5.]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import nan_unless_finite
from scorekit.metrics._distances import check_features, check_rows, map_distances
from scorekit.typing import Array, ArrayLike


class PrecisionRecall(NamedTuple):
    """The result of :func:`precision_recall`.

    Attributes:
      precision: fraction of fake points within the ball of some real point.
      recall: fraction of real points within the ball of some fake point.
    """

    precision: Array
    recall: Array


class DensityCoverage(NamedTuple):
    """The result of :func:`density_coverage`.

    Attributes:
      density: the number of real balls that contain a fake point, over k; about 1 for equal distributions.
      coverage: fraction of real balls that contain a fake point.
    """

    density: Array
    coverage: Array


@checked
def precision_recall(real: ArrayLike, fake: ArrayLike, k: PositiveInt = 3) -> PrecisionRecall:
    """Improved precision and recall: fractions of points within the balls of the other set.

    ``precision = mean_j [min_i (|y_j - x_i| - r_i) <= 0]`` for fake points y, real points x and the radii r of their
    balls; for the recall the sets are exchanged.

    Args:
      real: features ``(N, D)``, N > k.
      fake: features ``(M, D)``, M > k; take M = N to compare with published values.
      k: the neighbour that determines the radius of a ball.

    Source: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models"
    (https://arxiv.org/abs/1904.06991).
    """
    real, fake = check_features(k + 1, real=real, fake=fake)
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    in_real = map_distances(lambda j, d: jnp.any(d <= real_radii), fake, real)
    in_fake = map_distances(lambda i, d: jnp.any(d <= fake_radii), real, fake)
    return nan_unless_finite(PrecisionRecall(jnp.mean(in_real), jnp.mean(in_fake)), real, fake)


@checked
def density_coverage(real: ArrayLike, fake: ArrayLike, k: PositiveInt = 5) -> DensityCoverage:
    """Density and coverage of the balls of real points.

    ``density = sum_ij [|y_j - x_i| <= r_i] / (k M)`` and ``coverage = mean_i [min_j |y_j - x_i| <= r_i]``.

    Unlike precision and recall they use balls around real points only, so that outliers among the samples do not
    increase them.

    Args:
      real: features ``(N, D)``, N > k.
      fake: features ``(M, D)``, M >= 1.
      k: the neighbour that determines the radius of a ball.

    Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models"
    (https://arxiv.org/abs/2002.09797).
    """
    real, fake = check_features(1, real=real, fake=fake)
    check_rows(k + 1, real=real)
    radii = _radii(real, k)
    counts = map_distances(lambda j, d: jnp.sum(d <= radii), fake, real)
    covered = map_distances(lambda i, d: jnp.min(d) <= radii[i], real, fake)
    return nan_unless_finite(DensityCoverage(jnp.mean(counts) / k, jnp.mean(covered)), real, fake)


def nearest_distances(x: ArrayLike, reference: ArrayLike) -> Array:
    """The distance of each point to the nearest one of a reference, ``min_j |x_i - y_j|``.

    Compared with held-out data, small distances of samples to training data show memorised samples.

    Args:
      x: points ``(N, D)``, N >= 1.
      reference: points ``(M, D)``, M >= 1.
    """
    x, reference = check_features(1, x=x, reference=reference)
    return nan_unless_finite(map_distances(lambda i, d: jnp.min(d), x, reference), x, reference)


def _radii(x: Array, k: int) -> Array:
    """The distance of each point to its k-th nearest other point."""

    def kth(i, distances):
        others = distances.at[i].set(jnp.inf)
        return -jax.lax.top_k(-others, k)[0][-1]

    return map_distances(kth, x, x)
