"""Progressive distillation: one step of the student reproduces two steps of the teacher.

A deterministic step from t to s that ends in ``x_s`` implies the pair ``(x0, eps)`` that solves

    ``alpha_t x0 + sigma_t eps = x_t``  and  ``alpha_s x0 + sigma_s eps = x_s``,

the chord of the path. The student is trained with the ordinary denoising loss on these pairs in place of data and
noise (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import weightings
from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check, check_floating, check_like, check_per_example, check_state, check_time
from scorekit.losses import LossAux, denoising_loss_at
from scorekit.numerics.scales import check_prediction
from scorekit.predictions import Target, TargetName
from scorekit.process import perturb
from scorekit.times import Times, stratified_uniform
from scorekit.trees import batch_size, combine, is_traced
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Network, Prediction, PyTree, Schedule, Weighting


class Steps(NamedTuple):
    """Steps of a student, one per example.

    Attributes:
      t: times of the start, ``(B,)``.
      middle: the teacher's times in between, ``(B,)``.
      s: times of the end, ``(B,)``.

    >>> Steps(t=jnp.ones(1), middle=jnp.full(1, 0.5), s=jnp.zeros(1)).middle.tolist()
    [0.5]
    """

    t: Array
    middle: Array
    s: Array


@checked
def student_steps(key: Key, ts: ArrayLike, n: PositiveInt) -> Steps:
    """Draws steps of a student whose grid is every other time of the teacher's, with equal probabilities.

    ``(t, middle, s) = (ts[2 i], ts[2 i + 1], ts[2 i + 2])`` with i uniform over the k steps of the student.

    Args:
      key: PRNG key.
      n: number of draws, normally the batch size; stratified, so that each step is drawn ``n / steps`` times up to 1.
      ts: the teacher's decreasing times ``(2 k + 1,)``; the student's are ``ts[::2]``.

    Raises:
      ValueError: unless ``ts`` decreases and has an odd number of times.

    >>> student_steps(jax.random.key(0), jnp.array([1.0, 0.5, 0.0]), 2).middle
    Array([0.5, 0.5], dtype=float32)
    """
    check_time(ts=ts)
    ts = jnp.asarray(ts)
    if ts.ndim != 1 or ts.shape[0] < 3 or ts.shape[0] % 2 == 0:
        raise ValueError(f"ts must have shape (2 k + 1,) with k >= 1, got {ts.shape}")
    check(lambda grid: np.diff(grid) < 0, "decreasing", ts=ts)
    first = 2 * jnp.floor(stratified_uniform(key, n) * (ts.shape[0] // 2)).astype(int)
    return Steps(ts[first], ts[first + 1], ts[first + 2])


def _decay(t, s, schedule):
    """``(SNR_t / SNR_s)^(1/2) - 1``, without cancellation; NaN unless ``s < t``."""
    if not is_traced(t):
        check(lambda s: ~(s >= np.asarray(t)), f"below t = {t}", s=s)
    return jnp.where(jnp.asarray(s) < t, _change(t, s, schedule), jnp.nan)


def _change(t, s, schedule):
    return jnp.expm1(0.5 * (schedule.log_snr(t) - schedule.log_snr(s)))


@checked
def chord(schedule: Schedule, x_t: PyTree, x_s: PyTree, t: ArrayLike, s: ArrayLike) -> Prediction:
    """The prediction at ``x_t`` whose Euler (DDIM) step from t to s ends in ``x_s``.

    ``x0 = (sigma_t x_s - sigma_s x_t) / det``, ``eps = (alpha_s x_t - alpha_t x_s) / det`` with
    ``det = sigma_t alpha_s - sigma_s alpha_t``. It applies to any deterministic map from ``x_t`` to ``x_s``. For short
    steps the difference loses digits.

    Args:
      schedule: gives ``alpha`` and ``sigma`` at both times; either end may be pure signal or pure noise.
      x_t: start of the step, leaves ``(B, ...)``.
      x_s: end of the step.
      t: time of the start, a scalar or ``(B,)``.
      s: time of the end, below t, a scalar or ``(B,)``.

    Raises:
      ValueError: unless the states have one shape and ``s < t``; traced, the prediction is NaN.

    >>> from scorekit.schedules import RectifiedFlow
    >>> chord(RectifiedFlow(), jnp.array([1.0]), jnp.array([3.0]), 1.0, 0.5)
    Prediction(x0=Array([5.], dtype=float32), eps=Array([1.], dtype=float32))
    """
    check_time(t=t, s=s)
    check_floating(x_t=x_t, x_s=x_s)
    check_like("x_t", x_t, x_s=x_s)
    check_per_example(x_t, t=t, s=s)
    alpha_t, sigma_t, alpha_s, sigma_s = (f(u) for u in (t, s) for f in (schedule.alpha, schedule.sigma))
    det = -alpha_s * sigma_t * _decay(t, s, schedule)
    return Prediction(
        combine((sigma_t / det, x_s), (-sigma_s / det, x_t)),
        combine((alpha_s / det, x_t), (-alpha_t / det, x_s)),
    )


def _two_step_prediction(
    teacher: Denoiser, x_t: PyTree, t: Array, middle: Array, s: Array, schedule: Schedule
) -> Prediction:
    """The prediction whose Euler (DDIM) step from t to s equals two Euler steps of the teacher, via ``middle``.

    ``eps = (1 - u) eps' + u eps''`` and ``x0 = (1 - v) x0' + v x0''`` of the teacher's predictions at ``x_t`` and at
    ``x_middle``, with u and v the fraction of the second step in ``sigma / alpha`` and in ``alpha / sigma``. It does
    not subtract states, and is finite where t is pure noise or s pure signal.

    Args:
      middle: time of the teacher's second evaluation, ``s < middle < t``.

    Raises:
      ValueError: unless ``s < middle < t``; traced, the prediction is NaN.
    """
    check_state(x_t, t=t, middle=middle, s=s)
    if not is_traced(t):
        check(lambda m: ~(m >= np.asarray(t)), f"below t = {t}", middle=middle)
    if not is_traced(middle):
        check(lambda s: ~(s >= np.asarray(middle)), f"below middle = {middle}", s=s)
    t, middle, s = jnp.asarray(t), jnp.asarray(middle), jnp.asarray(s)
    one = teacher(x_t, t)
    check_prediction(x_t, one)
    two = teacher(combine((schedule.alpha(middle), one.x0), (schedule.sigma(middle), one.eps)), middle)
    first = _decay(t, middle, schedule) / _decay(t, s, schedule)  # fraction in sigma / alpha
    signal = first * jnp.exp(0.5 * (schedule.log_snr(middle) - schedule.log_snr(s)))  # fraction in alpha / sigma
    return Prediction(
        combine((signal, one.x0), (1.0 - signal, two.x0)),
        combine((first, one.eps), (1.0 - first, two.eps)),
    )


@checked
def progressive_loss(
    network: Network,
    teacher: Denoiser,
    schedule: Schedule,
    x0: PyTree,
    eps: PyTree,
    steps: Steps,
    *,
    target: "TargetName | Target" = "v",
    weighting: Weighting = weightings.v,
) -> tuple[Array, LossAux]:
    """The per-example loss of a student that is trained to take two steps of its teacher in one.

    ``loss_i = lambda(log_snr(t_i)) ||eps'_i - eps_hat(x_t, t_i)||^2 / D`` at ``x_t = alpha x0 + sigma eps``, with the
    noise ``eps'`` of the chord of the teacher's two steps. The loss has no gradient with respect to the teacher.

    Args:
      network: the student, ``(x_t, t) -> output``, usually initialised as a copy of the teacher; in later rounds the
        teacher is the student of the previous round.
      teacher: the denoiser of the teacher, with ``alpha x0 + sigma eps = x_t``, guided or not.
      schedule: the noise schedule of student and teacher.
      x0: data, leaves ``(B, ...)``.
      eps: noise shaped like ``x0``.
      steps: the student's steps, from :func:`student_steps`.
      target: the target of the student.
      weighting: lambda, a function of log-SNR. With ``weightings.eps`` nothing is learned at pure noise, where the
        weight of the error in x0 vanishes.

    Returns:
      ``(loss, aux)`` as :func:`scorekit.denoising_loss`.

    Raises:
      ValueError: for steps that are not ``(B,)``, or unless ``s < middle < t``; traced, the loss is NaN.

    >>> from scorekit import denoisers, densities, schedules
    >>> teacher = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=1.0), schedules.RectifiedFlow())
    >>> x, steps = jnp.ones((2, 1)), student_steps(jax.random.key(0), jnp.array([1.0, 0.5, 0.0]), 2)
    >>> progressive_loss(lambda x, t: 0 * x, teacher, schedules.RectifiedFlow(), x, -x, steps)[0].shape
    (2,)
    """
    for name, value in zip(Steps._fields, steps, strict=True):
        if jnp.shape(value) != (batch_size(x0),):
            raise ValueError(f"steps.{name} must have shape ({batch_size(x0)},), got {jnp.shape(value)}")
    x_t = perturb(schedule, x0, eps, steps.t)
    pair = jax.lax.stop_gradient(_two_step_prediction(teacher, x_t, *steps, schedule))
    times = Times(steps.t, jnp.ones_like(steps.t))
    return denoising_loss_at(network, schedule, pair.x0, pair.eps, times, target=target, weighting=weighting)


@checked
def halvings(first: PositiveInt, last: PositiveInt) -> tuple[int, ...]:
    """The number of steps of the student in each round, if the teacher of the first round takes ``first`` steps.

    ``(first / 2, first / 4, ..., last)``: each round halves the number of steps.

    Args:
      first: number of steps of the first teacher, ``last`` times a power of 2, at least 2.
      last: number of steps of the last student.

    >>> halvings(16, 2)
    (8, 4, 2)
    """
    rounds = [last]
    while rounds[0] < first:
        rounds.insert(0, 2 * rounds[0])
    if len(rounds) == 1 or rounds[0] != first:
        raise ValueError(f"first must be last = {last} times a power of 2, at least 2, got {first}")
    return tuple(rounds[1:])
