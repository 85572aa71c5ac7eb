"""Drifting: a generator of one evaluation, whose samples move towards data and away from each other in training.

The mean shift of x to a set of points y with weights w is ``m(x) = sum_j a_j y_j - x``, where
``a_j = w_j k(x, y_j) / sum_l w_l k(x, y_l)`` for a kernel k. The *drift* is the difference of two mean shifts,

    ``V(x) = m_data(x) - m_samples(x)``,

which is 0 for equal sets and changes its sign where they are exchanged. The Laplace kernel is ``exp(-|x - y| / h)``.
With the Gaussian kernel ``exp(-|x - y|^2 / (2 h^2))`` the drift is ``h^2 (score of data - score of samples)``, both
smoothed by noise of standard deviation h: the direction of :mod:`scorekit.flow_maps.matching`, without a teacher.

Sources: Deng et al. 2026, "Generative modeling via drifting" (https://arxiv.org/abs/2602.04770); for the scores Lai et
al. 2026 (https://arxiv.org/abs/2603.07514).
"""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from scorekit.arguments import Between, Each, Positive, checked
from scorekit.checks import check, check_broadcasts, check_finite, check_floating, check_like, check_per_example
from scorekit.numerics import wide
from scorekit.numerics.codes import as_array
from scorekit.numerics.meshes import unsplit
from scorekit.trees import batch_size
from scorekit.typing import Array, ArrayLike, Number, PyTree

DriftKernel: TypeAlias = Literal["gaussian", "laplace"]
"""The kernel of a drift."""


class DriftWeights(NamedTuple):
    """Weights of the points that move each sample, >= 0; only their ratios within a row matter.

    Attributes:
      data: weights of the attracting data, ``(B, N)``.
      repelling: weights of the repelling samples, then of the repelling data, ``(B, B + N)``.

    >>> DriftWeights(data=jnp.ones((1, 2)), repelling=jnp.zeros((1, 3))).repelling.shape
    (1, 3)
    """

    data: Array
    repelling: Array


@checked
def kernel_drift(
    x: Array,
    data: Array,
    samples: Array,
    bandwidth: Positive[Number],
    *,
    data_weights: ArrayLike = 1.0,
    sample_weights: ArrayLike = 1.0,
    kernel: DriftKernel = "laplace",
    joint: bool = False,
) -> Array:
    """``V(x) = m_data(x) - m_samples(x)``, ``(B, ...)`` in the units of x; 0 where all weights of a set are 0.

    Args:
      x: points ``(B, ...)``.
      data: points that attract, ``(N, ...)``.
      samples: points that repel, ``(M, ...)``.
      bandwidth: h, in the units of x.
      data_weights: >= 0, ``(B, N)`` or a shape that broadcasts to it; traced, a negative one gives NaN.
      sample_weights: ``(B, M)`` likewise.
      kernel: "gaussian" or "laplace".
      joint: whether ``a = sqrt(a_1 a_2)``, with a_1 normalised over both sets and a_2 over the points x, as in the
        paper: the drift is shorter where one of the sets is far away.

    >>> x, data = jnp.array([[0.0]]), jnp.array([[1.0], [3.0]])
    >>> kernel_drift(x, data, x, 1e3, kernel="gaussian").round(2)  # a wide kernel: the difference of the means
    Array([[2.]], dtype=float32)
    """
    check_floating(x=x, data=data, samples=samples)
    check_finite(x=x, data=data, samples=samples)
    check(lambda w: ~(w < 0), ">= 0", data_weights=data_weights, sample_weights=sample_weights)
    rows, shares = _rows(x), []
    data, samples = unsplit((data, samples))
    for name, points, weights in (("data", data, data_weights), ("samples", samples, sample_weights)):
        if jnp.shape(points)[1:] != jnp.shape(x)[1:] or not jnp.size(points) or not rows.size:
            raise ValueError(f"{name} must be points like those of x, {jnp.shape(x)}, got {jnp.shape(points)}")
        pairs = jax.ShapeDtypeStruct((len(rows), len(points)), rows.dtype)
        check_broadcasts(f"the pairs of x and {name}", pairs, **{f"{name.removesuffix('s')}_weights": weights})
        logits = _log_kernel(kernel, rows, _rows(points), bandwidth)
        logits = jnp.where(jnp.all(jnp.isneginf(logits), axis=1, keepdims=True), jnp.nan, logits)  # infinitely far
        shares.append(logits + jnp.log(jnp.asarray(weights, rows.dtype)))
    if joint:
        both = jnp.concatenate(shares, axis=1)
        near, far = jnp.split(jnp.sqrt(_softmax(both, 1) * _softmax(both, 0)), [len(data)], axis=1)
    else:
        near, far = (_softmax(logits, 1) for logits in shares)
    to_data = _product(near * jnp.sum(far, axis=1, keepdims=True), _rows(data))
    to_samples = _product(far * jnp.sum(near, axis=1, keepdims=True), _rows(samples))
    return jnp.reshape(to_data - to_samples, jnp.shape(x)).astype(jnp.result_type(x))


@checked
def drift_weights(
    labels: Array, data_labels: Array, guidance_scale: Annotated[ArrayLike, Between(1)] = 1.0
) -> DriftWeights:
    """The weights of classes: data and other samples of its class move a sample.

    With a guidance scale γ, samples of the density q come to rest at ``q = γ p(x | c) - (γ - 1) p(x)``, as data of all
    classes repel as well: ``q / γ + (1 - 1 / γ) p`` in place of q.

    Args:
      labels: classes of the samples, ``(B,)``; below 0 for none, where all data attract.
      data_labels: classes of the data, ``(N,)``.
      guidance_scale: γ, scalar or ``(B,)``.

    >>> drift_weights(jnp.array([0, 1, 1]), jnp.array([0, 1]), jnp.array([1.0, 2.0, 2.0])).repelling
    Array([[0.  , 0.  , 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.5 , 0.25, 0.25],
           [0.  , 0.5 , 0.  , 0.25, 0.25]], dtype=float32)
    """
    labels, data_labels = as_array(labels, "labels"), as_array(data_labels, "data_labels")
    for name, classes in {"labels": labels, "data_labels": data_labels}.items():
        if classes.ndim != 1 or not classes.size or not jnp.issubdtype(classes.dtype, jnp.integer):
            raise ValueError(f"{name} must hold integers, one per example, got {classes.dtype} {classes.shape}")
    check_per_example(labels, guidance_scale=guidance_scale)
    labels, data_labels, guidance_scale = unsplit((labels, data_labels, guidance_scale))
    own = jnp.maximum(labels, -1)[:, None]  # all labels below 0 are one class, none
    scale = jnp.broadcast_to(jnp.asarray(guidance_scale, float), labels.shape)[:, None]
    same = (own == own.T).astype(float) * (1.0 - jnp.eye(len(labels)))
    same = same / jnp.maximum(jnp.sum(same, axis=1, keepdims=True), 1.0)
    of_all = (1.0 - 1.0 / scale) * jnp.full(data_labels.shape, 1.0 / len(data_labels))
    attract = (own == data_labels) | (own < 0)
    return DriftWeights(attract.astype(float), jnp.concatenate([same / scale, of_all], axis=1))


@checked
def drifting_loss(
    samples: PyTree,
    data: PyTree,
    bandwidths: Annotated[Sequence[float], Each(Between(0, open="low"))] = (0.02, 0.05, 0.2),
    *,
    weights: DriftWeights | None = None,
    kernel: DriftKernel = "laplace",
    joint: bool = True,
) -> Array:
    """The per-example loss that moves samples along their drift, ``sum_leaves |x - stop(x + V)|^2 / D``.

    A leaf is a space of its own, of data or of features, with the mean distance of samples and data, over ``sqrt(D)``,
    as unit. V is a sum over bandwidths of drifts, each of which is divided by its root mean square over the batch:
    the value of the loss is meaningless. A sample without others, of its class where the weights are of classes and γ
    is 1, does not move.

    Args:
      samples: samples of the generator or features of them, leaves ``(B, ...)``; differentiable.
      data: data or features of data, leaves ``(N, ...)``, in the structure of ``samples``.
      bandwidths: h, in units of the mean distance.
      weights: by default, all data attract and all other samples repel.
      kernel: "gaussian" or "laplace".
      joint: whether ``a = sqrt(a_1 a_2)``, with a_1 normalised over both sets and a_2 over the points x, as in the
        paper: the drift is shorter where one of the sets is far away.

    >>> drifting_loss(jnp.zeros((3, 1)), jnp.array([[1.0], [3.0]]), (0.5,)).round(3)
    Array([1., 1., 1.], dtype=float32)
    """
    check_floating(samples=samples, data=data)
    check_finite(samples=samples, data=data)
    first = lambda tree: jax.tree.map(lambda leaf: leaf[:1], unsplit(tree))
    check_like("an example of samples", first(samples), data=first(data))
    b, n = batch_size(samples), batch_size(data)
    weights = drift_weights(jnp.zeros(b, int), jnp.zeros(n, int)) if weights is None else weights

    def of_space(x, y):
        fixed = jax.lax.stop_gradient(jnp.concatenate([_rows(unsplit(x)), _rows(unsplit(y))]))
        size = jnp.sqrt(fixed.shape[1])
        distance = jnp.mean(jnp.sqrt(_squared(fixed[:b], fixed[b:])))
        unit = jnp.where(distance == 0, 1.0, distance / size)
        points, total = fixed / unit, jnp.zeros_like(fixed[:b])
        for bandwidth in bandwidths:
            drift = kernel_drift(
                points[:b],
                points[b:],
                points,
                bandwidth * size,
                data_weights=weights.data,
                sample_weights=weights.repelling,
                kernel=kernel,
                joint=joint,
            )
            rms = jnp.sqrt(jnp.mean(jnp.square(drift)))
            total += drift / jnp.where(rms == 0, 1.0, rms)
        return jnp.mean(jnp.square(_rows(x) / unit - points[:b] - total), axis=1)

    return jnp.sum(jnp.stack(jax.tree.leaves(jax.tree.map(of_space, samples, data))), axis=0)


def _rows(x):
    return wide(jnp.reshape(x, (len(x), -1))) if jnp.ndim(x) else jnp.zeros((0, 1))


def _product(a, b):
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _squared(x, y):
    """Squared distances ``(B, N)``, of differences: products would cancel between modes that are far apart."""
    return jnp.sum(jnp.square(x[:, None] - y), axis=-1)


def _log_kernel(kernel, x, y, bandwidth):
    scaled = _squared(x, y) / jnp.square(bandwidth)
    if kernel == "gaussian":
        return -0.5 * scaled
    return -jnp.where(scaled > 0, jnp.sqrt(jnp.where(scaled > 0, scaled, 1.0)), scaled)  # with a derivative at 0


def _softmax(logits, axis):
    """0 where all logits are minus infinity."""
    most = jnp.max(logits, axis=axis, keepdims=True)
    return jax.nn.softmax(jnp.where(jnp.isneginf(most), 0.0, logits), axis) * ~jnp.isneginf(most)
