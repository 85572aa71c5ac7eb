"""The denoising objective, and the objective of a classifier of noisy data.

``E_{t, eps} lambda(log_snr(t)) ||eps - eps_hat||^2 / D``, computed on the network's own target: every target's error is
the eps error times a function of the noise level, so that a weighting gives the same loss for eps, x0, v, score,
velocity or a preconditioned network (:mod:`scorekit.predictions`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import weightings
from scorekit.arguments import checked
from scorekit.checks import check, check_classes, check_floating, check_like
from scorekit.numerics import wide
from scorekit.numerics.codes import as_array, in_range
from scorekit.numerics.networks import call_network
from scorekit.predictions import Target, TargetName, as_target, bounded_log_snr
from scorekit.process import perturb
from scorekit.times import Times, TimeSampler, Uniform, draw
from scorekit.trees import batch_size, event_size, normal_like, sum_per_example
from scorekit.typing import Array, Key, Network, Prediction, PyTree, Schedule, Weighting


class Binned(NamedTuple):
    """A quantity summed over bins of the noise level: ``mean = sum / count``.

    Attributes:
      sum: the sum over the examples in each bin, ``(K,)``.
      count: the number of examples in each bin, ``(K,)``.
      edges: ``(K + 1,)``; bin k is ``[edges[k], edges[k + 1])`` in log-SNR (nats), and the first and last bins include
        all values beyond.

    >>> binned = Binned(sum=jnp.array([6.0]), count=jnp.array([3.0]), edges=jnp.array([0.0, 2.0]))
    >>> binned.sum / binned.count
    Array([2.], dtype=float32)
    """

    sum: Array
    count: Array
    edges: Array


class LossAux(NamedTuple):
    """Auxiliary outputs of :func:`denoising_loss`, per example ``(B,)`` except the last.

    Attributes:
      t: the drawn times in [0, 1].
      log_snr: log-SNR at these times in nats, clipped to +-60.
      weight: the factor of ``eps_mse`` in the loss: weighting times importance weight.
      eps_mse: ``||eps - eps_hat||^2 / D``.
      target_mse: the mean squared error of the target of the network.
      by_noise_level: ``eps_mse`` binned by log-SNR.

    >>> from scorekit.schedules import Cosine
    >>> aux: LossAux = denoising_loss(jax.random.key(0), lambda x, t: 0 * x, Cosine(), jnp.ones((2, 3)))[1]
    >>> aux.t.shape, float(aux.by_noise_level.count.sum())
    ((2,), 2.0)
    """

    t: Array
    log_snr: Array
    weight: Array
    eps_mse: Array
    target_mse: Array
    by_noise_level: Binned


@checked
def denoising_loss(
    key: Key,
    network: Network,
    schedule: Schedule,
    x0: PyTree,
    *,
    target: TargetName | Target = "v",
    weighting: Weighting = weightings.v,
    times: TimeSampler | None = None,
) -> tuple[Array, LossAux]:
    """The per-example denoising loss at random times and noise.

    ``loss_i = w_i lambda(log_snr(t_i)) ||eps_i - eps_hat(x_t, t_i)||^2 / D`` with ``w_i`` the importance weight.

    Args:
      key: PRNG key of the times and the noise.
      network: ``(x_t, t) -> output``, shaped like ``x_t``, with ``t`` of shape ``(B,)``.
      schedule: the noise schedule: ``x_t = alpha(t) x0 + sigma(t) eps``.
      x0: clean data, a tree of ``(B, ...)`` arrays, at least one example.
      target: the target of the network: a name such as "v" or "eps", or a :class:`~scorekit.predictions.Target`.
      weighting: lambda of the log-SNR, which multiplies the eps-MSE (:mod:`scorekit.weightings`).
      times: sampler of the times (:mod:`scorekit.times`); None for uniform times.

    Returns:
      ``(loss, aux)``: losses ``(B,)``, whose mean is to be minimised, and their :class:`LossAux`.

    >>> from scorekit.schedules import Cosine
    >>> loss, aux = denoising_loss(jax.random.key(0), lambda x, t: 0 * x, Cosine(), jnp.ones((2, 3)), target="eps")
    >>> loss.mean().shape, aux.eps_mse.shape
    ((), (2,))

    Source: Ho et al. 2020, eq. 12 (https://arxiv.org/abs/2006.11239); Kingma & Gao 2023
    (https://arxiv.org/abs/2303.00848).
    """
    for_times, for_noise = jax.random.split(key)
    drawn = draw(for_times, Uniform() if times is None else times, schedule, _examples(x0))
    eps = normal_like(for_noise, x0)
    return denoising_loss_at(network, schedule, x0, eps, drawn, target=target, weighting=weighting)


@checked
def denoising_loss_at(
    network: Network,
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    times: Times,
    *,
    target: TargetName | Target = "v",
    weighting: Weighting = weightings.v,
) -> tuple[Array, LossAux]:
    """:func:`denoising_loss` at given times and noise; deterministic.

    ``lambda(log_snr) ||eps - eps_hat(alpha x0 + sigma eps, t)||^2 / D`` for each example.

    Args:
      network: ``(x_t, t) -> output``, shaped like ``x_t``, with ``t`` of shape ``(B,)``.
      schedule: the noise schedule: ``x_t = alpha(t) x0 + sigma(t) eps``.
      x0: clean data, a tree of ``(B, ...)`` arrays, at least one example.
      eps: standard normal noise shaped like ``x0``.
      times: times and importance weights, ``(B,)`` each.
      target: the target of the network: a name such as "v" or "eps", or a :class:`~scorekit.predictions.Target`.
      weighting: lambda of the log-SNR, which multiplies the eps-MSE (:mod:`scorekit.weightings`).

    Returns:
      ``(loss, aux)``: losses ``(B,)``, whose mean is to be minimised, and their :class:`LossAux`.

    >>> from scorekit.schedules import Cosine
    >>> times, x0 = Times(t=jnp.array([0.2, 0.9]), weight=jnp.array([1.0, 2.0])), jnp.ones((2, 3))
    >>> denoising_loss_at(lambda x, t: 0 * x, Cosine(), x0, 0 * x0, times, target="eps")[0]
    Array([0., 0.], dtype=float32)
    """
    target = as_target(target)
    _check_times(times, _examples(x0))
    output = call_network("output", network, perturb(schedule, x0, eps, times.t), times.t)
    truth = target.from_prediction(Prediction(x0, eps), times.t, schedule)
    error = jax.tree.map(lambda a, e: wide(a) - e, output, truth)
    target_mse = sum_per_example(jnp.square, error) / event_size(x0)
    log_snr = bounded_log_snr(schedule, times.t)
    scale = jnp.square(target.eps_scale(times.t, schedule))
    weight = weighting(log_snr) * times.weight
    eps_mse = scale * target_mse
    aux = LossAux(times.t, log_snr, weight, eps_mse, target_mse, bin_by_noise_level(eps_mse, log_snr))
    return (weight * scale) * target_mse, aux


class ClassificationAux(NamedTuple):
    """Auxiliary outputs of :func:`classification_loss`, per example ``(B,)``.

    Attributes:
      t: the drawn times in [0, 1].
      log_snr: log-SNR at these times in nats, clipped to +-60.
      cross_entropy: ``-log p(y | x_t)``, in nats.
      correct: whether y is the most probable class.

    >>> ClassificationAux(jnp.zeros(1), jnp.zeros(1), jnp.log(jnp.array([2.0])), jnp.array([True])).correct.mean()
    Array(1., dtype=float32)
    """

    t: Array
    log_snr: Array
    cross_entropy: Array
    correct: Array


@checked
def classification_loss(
    key: Key,
    classifier: Callable[[PyTree, Array], Array],
    schedule: Schedule,
    x0: PyTree,
    labels: Array,
    *,
    times: TimeSampler | None = None,
) -> tuple[Array, ClassificationAux]:
    """The per-example cross-entropy of a classifier of noisy data, in nats, at random times and noise.

    ``loss_i = -w_i log p(y_i | x_t, t_i)`` with ``w_i`` the importance weight. The minimum is the true class posterior
    at every noise level, as required for classifier guidance.

    Args:
      key: PRNG key of the times and the noise.
      classifier: ``(x_t, t) -> logits`` ``(B, K)``, with ``t`` of shape ``(B,)``.
      schedule: the noise schedule: ``x_t = alpha(t) x0 + sigma(t) eps``.
      x0: clean data, a tree of ``(B, ...)`` arrays, at least one example.
      labels: classes in 0..K-1, integers ``(B,)``; a traced label out of range gives NaN.
      times: sampler of the times (:mod:`scorekit.times`); None for uniform times.

    Returns:
      ``(loss, aux)``: losses ``(B,)``, whose mean is to be minimised, and their :class:`ClassificationAux`.

    >>> from scorekit.schedules import Cosine
    >>> x0, labels, guess = jnp.ones((2, 3)), jnp.array([0, 2]), lambda x, t: 0 * x  # three equal logits
    >>> classification_loss(jax.random.key(0), guess, Cosine(), x0, labels)[0].round(2)
    Array([1.1, 1.1], dtype=float32)

    Source: Dhariwal & Nichol 2021 (https://arxiv.org/abs/2105.05233).
    """
    for_times, for_noise = jax.random.split(key)
    drawn = draw(for_times, Uniform() if times is None else times, schedule, _examples(x0))
    return classification_loss_at(classifier, schedule, x0, normal_like(for_noise, x0), drawn, labels)


@checked
def classification_loss_at(
    classifier: Callable[[PyTree, Array], Array],
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    times: Times,
    labels: Array,
) -> tuple[Array, ClassificationAux]:
    """:func:`classification_loss` at given times and noise; deterministic.

    ``-log p(y | alpha x0 + sigma eps, t)``.

    Args:
      classifier: ``(x_t, t) -> logits`` ``(B, K)``, with ``t`` of shape ``(B,)``.
      schedule: the noise schedule: ``x_t = alpha(t) x0 + sigma(t) eps``.
      x0: clean data, a tree of ``(B, ...)`` arrays, at least one example.
      eps: standard normal noise shaped like ``x0``.
      times: times and importance weights, ``(B,)`` each; t = 0 is the clean data.
      labels: classes in 0..K-1, integers ``(B,)``; a traced label out of range gives NaN.

    Returns:
      ``(loss, aux)``: losses ``(B,)``, whose mean is to be minimised, and their :class:`ClassificationAux`.

    >>> from scorekit.schedules import Cosine
    >>> times, x0 = Times(t=jnp.array([0.2, 0.9]), weight=jnp.array([1.0, 2.0])), jnp.ones((2, 3))
    >>> loss, aux = classification_loss_at(lambda x, t: 0 * x, Cosine(), x0, 0 * x0, times, jnp.array([0, 2]))
    >>> loss.round(2), aux.correct.tolist()
    (Array([1.1, 2.2], dtype=float32), [True, False])
    """
    b, labels = _examples(x0), as_array(labels, "labels")
    if labels.shape != (b,) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be integers of shape ({b},), got {labels.dtype} of shape {labels.shape}")
    _check_times(times, b)
    logits = classifier(perturb(schedule, x0, eps, times.t), times.t)
    if logits.ndim != 2 or logits.shape[0] != b:
        raise ValueError(f"classifier must return logits of shape ({b}, K), got {logits.shape}")
    check_classes(logits.shape[1], labels=labels)
    log_p = jax.nn.log_softmax(wide(logits))
    labels = in_range(labels, logits.shape[1])
    chosen = jnp.take_along_axis(log_p, labels[:, None], axis=1, mode="fill")[:, 0]  # else NaN
    log_snr = bounded_log_snr(schedule, times.t)
    return -times.weight * chosen, ClassificationAux(times.t, log_snr, -chosen, jnp.argmax(log_p, axis=1) == labels)


def _examples(x0: PyTree) -> int:
    """The number of examples of floating data, at least one: the mean of no losses is NaN."""
    check_floating(x0=x0)
    if batch_size(x0) == 0:
        raise ValueError("x0 must hold at least one example, got none")
    return batch_size(x0)


def _check_times(times: Times, b: int) -> None:
    for name, value in zip(Times._fields, times, strict=True):
        if jnp.shape(value) != (b,):
            raise ValueError(f"times.{name} must have shape ({b},), one per example, got {jnp.shape(value)}")


def bin_by_noise_level(values: Array, log_snr: Array, edges: Array | None = None) -> Binned:
    """Sums ``values`` (B,) over bins of the noise level.

    Args:
      values: one value per example.
      log_snr: log-SNR of each example in nats, ``(B,)``.
      edges: increasing bin edges ``(K + 1,)``; default twelve bins of 2 nats from -12 to 12.

    Returns:
      A :class:`Binned`; add the sums and counts of several batches before dividing. A log-SNR that is NaN makes the sum
      of the last bin NaN.

    >>> b = bin_by_noise_level(jnp.array([1.0, 3.0]), jnp.array([0.5, 0.7]))
    >>> float(b.sum.sum()), float(b.count.max())
    (4.0, 2.0)
    """
    check_like("log_snr", log_snr, values=values)
    edges = jnp.linspace(-12.0, 12.0, 13) if edges is None else jnp.asarray(edges)
    if edges.ndim != 1 or edges.shape[0] < 2 or jnp.ndim(values) != 1:
        raise ValueError(
            f"edges must have shape (K + 1,), and values and log_snr (B,), got {edges.shape} and {jnp.shape(values)}"
        )
    check(lambda e: np.diff(e) > 0, "increasing", edges=edges)
    bins = edges.shape[0] - 1
    values = jnp.where(jnp.isnan(log_snr), jnp.nan, values)
    k = bins - 1 - jnp.sum(log_snr[:, None] < edges[1:-1], axis=1)
    inside = k[:, None] == jnp.arange(bins)  # sums and no scatter, which a split batch does not have
    sums = jnp.sum(jnp.where(inside, values[:, None], 0), axis=0)
    return Binned(sums, jnp.sum(inside, axis=0, dtype=values.dtype), edges)


def uncertainty_weighted(loss: Array, log_variance: Array) -> Array:
    """``loss / exp(u) + u``: the losses ``(B,)`` under a learned log-variance u of the noise level, to be averaged.

    At the optimum ``exp(u)`` is the expected loss at that noise level, so that all noise levels contribute equally.

    Args:
      loss: per-example losses ``(B,)``.
      log_variance: u at each example's noise level ``(B,)``, from a small learned function of log-SNR
        (:class:`scorekit.networks.LogVariance`); or one for all.

    >>> round(float(uncertainty_weighted(2.0, jnp.log(2.0))), 3)
    1.693

    Source: Karras et al. 2024 (https://arxiv.org/abs/2312.02696).
    """
    if jnp.ndim(log_variance):
        check_like("loss", loss, log_variance=log_variance)
    return loss * jnp.exp(-log_variance) + log_variance
