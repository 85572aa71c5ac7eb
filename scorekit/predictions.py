"""Prediction targets, and the pair ``(x0, eps)`` through which all of them are converted.

A :class:`~scorekit.typing.Prediction` is the pair ``(x0, eps)`` with ``x_t = alpha x0 + sigma eps``. A *target*
converts the output of a network to that pair and back; every conversion is one step to the pair and one step from it.

==========  =======================================  ==============================================
target      definition                               conversion to ``(x0, eps)``
==========  =======================================  ==============================================
x0          the clean data                           ``eps = (x_t - alpha x0) / sigma``
eps         the noise                                ``x0 = (x_t - sigma eps) / alpha``
score       ``grad_x log p_t(x)`` = -eps / sigma      ``eps = -sigma score``
v           ``alpha eps - sigma x0``                 ``x0 = (alpha x_t - sigma v) / (alpha^2 + sigma^2)``
velocity    ``alpha' x0 + sigma' eps``               ``x0 = (sigma' x_t - sigma velocity) / det``
edm         ``(sigma x0 - alpha s^2 eps) / (s R)``   ``x0 = (alpha s^2 x_t + sigma s R F) / R^2``
==========  =======================================  ==============================================

with ``det = alpha sigma' - sigma alpha'`` and ``R^2 = sigma^2 + alpha^2 s^2`` for data of standard deviation ``s``.
``v``, ``velocity`` and ``edm`` divide by neither alpha nor sigma and are therefore defined at both ends of every
schedule; ``x0`` requires ``sigma > 0``, and ``eps`` and ``score`` require ``alpha > 0`` where they are evaluated.

>>> from scorekit.schedules import RectifiedFlow
>>> true, middle = Prediction(x0=jnp.ones(1), eps=jnp.full(1, 3.0)), jnp.float32(0.5)
>>> targets = X0(), Eps(), Score(), V(), Velocity(), EDMTarget(sigma_data=1.0)
>>> [round(float(target.from_prediction(true, middle, RectifiedFlow())[0]), 1) for target in targets]
[1.0, 3.0, -6.0, 1.0, 2.0, -1.4]
>>> print(bounded_log_snr(RectifiedFlow(), 0.0))
60.0
"""

from typing import Literal, Protocol, TypeAlias

import jax
import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.checks import check_floating, check_levels, check_like, check_per_example, check_time
from scorekit.numerics import clip_to_interior
from scorekit.schedules import time_derivative
from scorekit.trees import combine, pytree_dataclass, where
from scorekit.typing import Array, ArrayLike, Number, Prediction, PyTree, Schedule

__all__ = [
    "TARGETS",
    "X0",
    "EDMTarget",
    "Eps",
    "Score",
    "Target",
    "TargetName",
    "V",
    "Velocity",
    "as_target",
    "bounded_log_snr",
    "convert",
    "seen_log_snr",
    "with_x0",
]

_LOG_SNR_LIMIT = 60.0
_SEEN = 20.0


class Target(Protocol):
    """The meaning of a network's output. All methods accept ``t`` as a scalar or ``(B,)``."""

    def to_prediction(self, output: PyTree, x_t: PyTree, t: Array, schedule: Schedule) -> Prediction:
        """The pair ``(x0, eps)`` that ``output`` implies at ``x_t``."""
        ...

    def from_prediction(self, prediction: Prediction, t: Array, schedule: Schedule) -> PyTree:
        """The network output that corresponds to this pair; for the true pair, the training target."""
        ...

    def eps_scale(self, t: Array, schedule: Schedule) -> Array:
        """``|eps error| / |output error|`` at fixed ``x_t``, which converts any loss to an eps-loss."""
        ...


@checked
def bounded_log_snr(schedule: Schedule, t: Array) -> Array:
    """The log-SNR clipped to +-60 nats, so that products of weights (0 times infinity) are finite at the ends.

    Args:
      schedule: gives ``log_snr(t)``, which may be infinite at the ends.
      t: times of any shape.

    Returns:
      The log-SNR in nats, shaped like ``t``.
    """
    return jnp.clip(schedule.log_snr(t), -_LOG_SNR_LIMIT, _LOG_SNR_LIMIT)


def seen_log_snr(log_snr: ArrayLike) -> Array:
    """A log-SNR as the input of a network, clipped to +-20 nats: training draws hardly any time beyond.

    Args:
      log_snr: in nats, any shape.

    >>> float(seen_log_snr(jnp.inf))
    20.0
    """
    return jnp.clip(jnp.asarray(log_snr), -_SEEN, _SEEN)


def _radius(t, schedule):
    return jnp.hypot(schedule.alpha(t), schedule.sigma(t))


@pytree_dataclass
class X0(Target):
    """The network predicts the clean data.

    Source: Salimans & Ho 2022 (https://arxiv.org/abs/2202.00512).
    """

    def to_prediction(self, output, x_t, t, schedule):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return Prediction(output, combine((1 / sigma, x_t), (-alpha / sigma, output)))

    def from_prediction(self, prediction, t, schedule):
        return prediction.x0

    def eps_scale(self, t, schedule):
        return jnp.exp(0.5 * bounded_log_snr(schedule, t))


@pytree_dataclass
class Eps(Target):
    """The network predicts the noise.

    Source: Ho et al. 2020 (https://arxiv.org/abs/2006.11239).
    """

    def to_prediction(self, output, x_t, t, schedule):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return Prediction(combine((1 / alpha, x_t), (-sigma / alpha, output)), output)

    def from_prediction(self, prediction, t, schedule):
        return prediction.eps

    def eps_scale(self, t, schedule):
        return jnp.ones_like(schedule.alpha(t))


@pytree_dataclass
class Score(Target):
    """The network predicts the score ``grad_x log p_t(x) = -eps / sigma``.

    Source: Song & Ermon 2019 (https://arxiv.org/abs/1907.05600).
    """

    def to_prediction(self, output, x_t, t, schedule):
        eps = combine((-schedule.sigma(t), output))
        return Eps().to_prediction(eps, x_t, t, schedule)

    def from_prediction(self, prediction, t, schedule):
        return combine((-1 / schedule.sigma(t), prediction.eps))

    def eps_scale(self, t, schedule):
        return _radius(t, schedule) * jnp.sqrt(jax.nn.sigmoid(-bounded_log_snr(schedule, t)))


@pytree_dataclass
class V(Target):
    """The network predicts ``v = alpha eps - sigma x0``.

    Source: Salimans & Ho 2022 (https://arxiv.org/abs/2202.00512).
    """

    def to_prediction(self, output, x_t, t, schedule):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        norm = jnp.square(alpha) + jnp.square(sigma)
        return Prediction(
            combine((alpha / norm, x_t), (-sigma / norm, output)),
            combine((sigma / norm, x_t), (alpha / norm, output)),
        )

    def from_prediction(self, prediction, t, schedule):
        return combine((schedule.alpha(t), prediction.eps), (-schedule.sigma(t), prediction.x0))

    def eps_scale(self, t, schedule):
        return jnp.sqrt(jax.nn.sigmoid(bounded_log_snr(schedule, t))) / _radius(t, schedule)


@pytree_dataclass
class Velocity(Target):
    """The network predicts ``dx/dt`` of the conditional flow, ``alpha' x0 + sigma' eps``.

    Source: Lipman et al. 2022 (https://arxiv.org/abs/2210.02747); Albergo & Vanden-Eijnden 2022
    (https://arxiv.org/abs/2209.15571).
    """

    def _coefficients(self, t, schedule):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        alpha_rate = time_derivative(schedule.alpha, clip_to_interior(t))
        sigma_rate = time_derivative(schedule.sigma, clip_to_interior(t))
        return alpha, sigma, alpha_rate, sigma_rate, alpha * sigma_rate - sigma * alpha_rate

    def to_prediction(self, output, x_t, t, schedule):
        alpha, sigma, alpha_rate, sigma_rate, det = self._coefficients(t, schedule)
        return Prediction(
            combine((sigma_rate / det, x_t), (-sigma / det, output)),
            combine((-alpha_rate / det, x_t), (alpha / det, output)),
        )

    def from_prediction(self, prediction, t, schedule):
        _, _, alpha_rate, sigma_rate, _ = self._coefficients(t, schedule)
        return combine((alpha_rate, prediction.x0), (sigma_rate, prediction.eps))

    def eps_scale(self, t, schedule):
        det = self._coefficients(t, schedule)[-1]
        alpha = _radius(t, schedule) * jnp.sqrt(jax.nn.sigmoid(bounded_log_snr(schedule, t)))
        return alpha / det


@pytree_dataclass
class EDMTarget(Target):
    """The output F of a network inside EDM preconditioning, for any schedule.

    ``D(x_t) = c_skip x_t / alpha + c_out F`` with ``c_skip = s^2 / (w^2 + s^2)``, ``c_out = w s / sqrt(w^2 + s^2)`` and
    ``w = sigma / alpha``, rearranged so that nothing is divided by alpha or sigma. With ``s = 1`` and a
    variance-preserving schedule, ``F = -v``.

    Args:
      sigma_data: the standard deviation s of the data.

    >>> from scorekit.schedules import EDM
    >>> schedule = EDM(sigma_min=0.5)
    >>> float(EDMTarget(sigma_data=0.5).to_prediction(jnp.zeros(1), jnp.ones(1), 0.0, schedule).x0[0].round(4))
    0.5

    Source: Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364).
    """

    sigma_data: Positive[Number] = 0.5

    def _coefficients(self, t, schedule):
        alpha, sigma, s = schedule.alpha(t), schedule.sigma(t), self.sigma_data
        return alpha, sigma, s, jnp.hypot(sigma, alpha * s)

    def to_prediction(self, output, x_t, t, schedule):
        alpha, sigma, s, r = self._coefficients(t, schedule)
        return Prediction(
            combine((alpha * s * s / r**2, x_t), (sigma * s / r, output)),
            combine((sigma / r**2, x_t), (-alpha * s / r, output)),
        )

    def from_prediction(self, prediction, t, schedule):
        alpha, sigma, s, r = self._coefficients(t, schedule)
        return combine((sigma / (s * r), prediction.x0), (-alpha * s / r, prediction.eps))

    def eps_scale(self, t, schedule):
        _, _, s, r = self._coefficients(t, schedule)
        radius = _radius(t, schedule)
        return radius * jnp.sqrt(jax.nn.sigmoid(bounded_log_snr(schedule, t))) * s / r


TargetName: TypeAlias = Literal["x0", "eps", "score", "v", "velocity"]
"""The names of the targets without hyper-parameters, the keys of :data:`TARGETS`."""

TARGETS: dict[str, Target] = {"x0": X0(), "eps": Eps(), "score": Score(), "v": V(), "velocity": Velocity()}
"""The targets without hyper-parameters by name."""


def as_target(target: "TargetName | Target", argument: str = "target") -> Target:
    """The target with this name, or the object itself.

    Args:
      target: a name of :data:`TARGETS`, or an object with the methods of :class:`Target`.
      argument: the name of the argument in errors.

    >>> as_target("v")
    V()
    """
    if not isinstance(target, str) and hasattr(target, "to_prediction"):
        return target
    if not isinstance(target, str) or target not in TARGETS:
        raise ValueError(f"{argument} must be one of {sorted(TARGETS)} or a Target, got {target!r}")
    return TARGETS[target]


@checked
def convert(
    schedule: Schedule,
    output: PyTree,
    x_t: PyTree,
    t: ArrayLike,
    *,
    source: "TargetName | Target",
    target: "TargetName | Target",
) -> PyTree:
    """Converts a prediction of one target to another, at fixed ``x_t``.

    Args:
      schedule: gives ``alpha`` and ``sigma`` at t; "velocity" also needs their derivatives.
      output: a network output, shaped like ``x_t``.
      x_t: the noisy state.
      t: time, scalar or ``(B,)``.
      source: the target that ``output`` predicts.
      target: the target to convert to.

    Returns:
      A tree shaped like ``x_t``.

    >>> from scorekit.schedules import RectifiedFlow
    >>> convert(RectifiedFlow(), jnp.zeros(2), jnp.ones(2), 0.5, source="eps", target="v")
    Array([-1., -1.], dtype=float32)
    """
    check_floating(x_t=x_t, output=output)
    check_like("x_t", x_t, output=output)
    check_time(t=t)
    check_per_example(x_t, t=t)
    t = jnp.asarray(t)
    prediction = as_target(source, "source").to_prediction(output, x_t, t, schedule)
    return as_target(target).from_prediction(prediction, t, schedule)


@checked
def with_x0(schedule: Schedule, prediction: Prediction, x0: PyTree, t: ArrayLike) -> Prediction:
    """Replaces the clean estimate of a prediction, with the noise that keeps ``alpha x0 + sigma eps`` unchanged.

    ``eps' = eps - (alpha / sigma)(x0' - x0)``; where sigma is 0 the noise is not changed.

    Args:
      schedule: gives ``alpha / sigma`` at t.
      prediction: the pair ``(x0, eps)``.
      x0: the new clean estimate, shaped like the old one.
      t: time, a scalar, ``(B,)``, or ``(B, T)``, one for each frame.

    >>> from scorekit.schedules import RectifiedFlow
    >>> with_x0(RectifiedFlow(), Prediction(x0=jnp.ones(1), eps=jnp.full(1, 3.0)), jnp.zeros(1), 0.5).eps
    Array([4.], dtype=float32)
    """
    check_floating(x0=x0)
    check_like("x0", Prediction(x0, x0), prediction=prediction)
    check_levels(x0, t=t)
    sigma = schedule.sigma(t)
    noisy = sigma != 0  # also of NaN, which then stays visible
    ratio = jnp.where(noisy, schedule.alpha(t) / jnp.where(noisy, sigma, 1.0), 0.0)
    eps = combine((1.0, prediction.eps), (-ratio, x0), (ratio, prediction.x0))
    return Prediction(x0, where(noisy, eps, prediction.eps))
