"""The denoising loss with an independent level for each frame.

Source: Chen et al. 2024, "Diffusion forcing" (https://arxiv.org/abs/2407.01392).
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import losses, weightings
from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check_like
from scorekit.forcing._checks import frames_of
from scorekit.losses import LossAux
from scorekit.predictions import Target, TargetName
from scorekit.times import Times, TimeSampler, Uniform, draw
from scorekit.trees import is_traced, normal_like, where
from scorekit.typing import Array, ArrayLike, Key, Network, PyTree, Schedule, Weighting


@checked
def draw_times(key: Key, sampler: TimeSampler, schedule: Schedule, batch: PositiveInt, frames: PositiveInt) -> Times:
    """Independent times for all frames of a batch: ``B T`` draws, stratified over all of them in random order.

    Args:
      key: PRNG key.
      sampler: a sampler of :mod:`scorekit.times`.
      schedule: the noise schedule.
      batch: number of examples B.
      frames: number of frames T.

    Returns:
      Times and weights, ``(B, T)`` each.

    >>> from scorekit.schedules import Cosine
    >>> draw_times(jax.random.key(0), Uniform(), Cosine(), 4, 3).t.shape
    (4, 3)
    """
    return Times(*(value.reshape(batch, frames) for value in draw(key, sampler, schedule, batch * frames)))


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
    mask: ArrayLike | None = None,
) -> tuple[Array, LossAux]:
    """The denoising loss of each example, with independent times and noise for all of its frames.

    ``loss_b = mean_i w_bi lambda(log_snr(t_bi)) ||eps_bi - eps_hat_i(x_t, t_b)||^2 / K`` over the frames i that exist,
    with ``x_t,bi = alpha(t_bi) x0_bi + sigma(t_bi) eps_bi`` and K values in a frame.

    Args:
      key: PRNG key.
      network: ``(x_t, t) -> output`` with ``t`` of shape ``(B, T)``.
      schedule: the noise schedule.
      x0: clean sequences, a tree of ``(B, T, ...)`` arrays.
      target: name or :class:`~scorekit.predictions.Target` of the output of the network.
      weighting: lambda, a function of log-SNR (:mod:`scorekit.weightings`).
      times: sampler of t (:mod:`scorekit.times`); default ``Uniform()``.
      mask: ``(B, T)`` booleans, the frames that exist, at least one; the others are noise at t = 1 without a loss.
        None: all exist.

    Returns:
      ``(loss, aux)``: losses ``(B,)``, and a :class:`scorekit.losses.LossAux` with values for each frame, ``(B, T)``;
      frames that do not exist have the weight 0 and are not in ``by_noise_level``.

    >>> from scorekit.schedules import Cosine
    >>> network, x0, mask = (lambda x, t: 0 * x), jnp.ones((4, 3, 2)), jnp.array([[True, True, False]] * 4)
    >>> loss, aux = denoising_loss(jax.random.key(0), network, Cosine(), x0, mask=mask)
    >>> loss.shape, aux.t.shape
    ((4,), (4, 3))
    """
    for_times, for_noise = jax.random.split(key)
    batch, frames = frames_of("x0", x0)
    drawn = draw_times(for_times, Uniform() if times is None else times, schedule, batch, frames)
    options = {"target": target, "weighting": weighting, "mask": mask}
    return denoising_loss_at(network, schedule, x0, normal_like(for_noise, x0), drawn, **options)


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
    mask: ArrayLike | None = None,
) -> tuple[Array, LossAux]:
    """:func:`denoising_loss` at given times and noise; deterministic.

    ``mean_i w_bi lambda(log_snr(t_bi)) ||eps_bi - eps_hat_i||^2 / K`` for each example.

    Args:
      network: ``(x_t, t) -> output`` with ``t`` of shape ``(B, T)``.
      schedule: the noise schedule.
      x0: clean sequences, a tree of ``(B, T, ...)`` arrays.
      eps: noise shaped like ``x0``.
      times: times and importance weights, ``(B, T)`` each.
      target: name or :class:`~scorekit.predictions.Target` of the output of the network.
      weighting: lambda, a function of log-SNR (:mod:`scorekit.weightings`).
      mask: ``(B, T)`` booleans, the frames that exist, at least one; the others are noise at t = 1 without a loss.
        None: all exist.

    Returns:
      ``(loss, aux)`` of :func:`denoising_loss`.

    >>> from scorekit.schedules import Cosine
    >>> x0 = jnp.ones((4, 3, 2))
    >>> times = draw_times(jax.random.key(0), Uniform(), Cosine(), 4, 3)
    >>> denoising_loss_at(lambda x, t: 0 * x, Cosine(), x0, 0 * x0, times, target="eps")[0].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    shape = frames_of("x0", x0)
    check_like("x0", x0, eps=eps)
    for name, value in zip(Times._fields, times, strict=True):
        _check_shape(f"times.{name}", value, shape)
    if mask is not None:
        _check_shape("mask", mask, shape)
        if jnp.asarray(mask).dtype != bool:
            raise ValueError(f"mask must hold booleans, got dtype {jnp.asarray(mask).dtype}")
        if not is_traced(mask) and not np.any(np.asarray(mask)):
            raise ValueError("mask must leave at least one frame to predict, got none")
        x0 = where(mask, x0, jax.tree.map(jnp.zeros_like, x0))
        times = times._replace(t=jnp.where(mask, times.t, 1.0))
    fold = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)
    unfold = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), tree)

    def of_frames(x_t, t):
        output = network(unfold(x_t), unfold(t))
        check_like("x0", x0, output=output)
        return fold(output)

    flat_x0, flat_eps, flat_times = (fold(tree) for tree in (x0, eps, times))
    value, aux = losses.denoising_loss_at(
        of_frames, schedule, flat_x0, flat_eps, flat_times, target=target, weighting=weighting
    )
    exists = jnp.ones(shape, bool) if mask is None else jnp.asarray(mask)
    count = jnp.maximum(jnp.sum(exists, axis=1), 1)
    loss = jnp.sum(jnp.where(exists, unfold(value), 0.0), axis=1) / count
    each = {name: unfold(value) for name, value in aux._asdict().items() if name != "by_noise_level"}
    each["weight"] = jnp.where(exists, each["weight"], 0.0)
    summed = lambda value, log_snr: losses.bin_by_noise_level(jnp.where(exists, value, 0.0).ravel(), log_snr)
    ones, known = jnp.ones_like(each["eps_mse"]), jnp.where(jnp.isnan(aux.log_snr), jnp.inf, aux.log_snr)
    binned = summed(each["eps_mse"], aux.log_snr)._replace(count=summed(ones, known).sum)
    return loss, aux._replace(**each, by_noise_level=binned)


def _check_shape(name: str, value: ArrayLike, shape: tuple[int, int]) -> None:
    if jnp.shape(value) != shape:
        raise ValueError(f"{name} must have shape {shape}, one value per frame, got {jnp.shape(value)}")
