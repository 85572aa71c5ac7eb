"""Weightings lambda(log_snr) of the eps-MSE.

The objective is ``E_t lambda(log_snr(t)) ||eps - eps_hat||^2``. Because every target's error is the eps error times a
function of the noise level, a plain loss on another target *is* a weighting; the table lists the published losses.

==================  ========================================================  ==============================
name                equivalent loss                                           lambda
==================  ========================================================  ==============================
eps, snr            plain eps-MSE = SNR-weighted x0-MSE                       1
x0                  plain x0-MSE                                              exp(-l)
v                   plain v-MSE (variance preserving)                         1 + exp(-l)
score               plain score-MSE (variance preserving)                     1 + exp(l)
truncated_snr       max(SNR, 1)-weighted x0-MSE                               max(1, exp(-l))
min_snr             min(SNR, gamma)-weighted x0-MSE                           min(1, gamma exp(-l))
p2                  (k + SNR)^-gamma eps-MSE                                  (k + exp(l))^-gamma
edm                 (w^2 + s^2) / (w s)^2 x0-MSE, w = sigma / alpha           1 + exp(-l) / s^2
flow                plain velocity-MSE of the rectified flow                  (1 + exp(-l/2))^2
logit_normal        flow, with a logit-normal density of flow times           flow(l) N(-l/2; m, s) / (t (1 - t))
sigmoid             sigmoid-weighted ELBO, per unit of log-SNR                sigmoid(bias - l)
band                recovery of frequencies of power P, per unit of log-SNR   g (1 - g), g = P e^l / (1 + P e^l)
likelihood          the ELBO itself (needs the schedule)                      -1/2 dl/dt
==================  ========================================================  ==============================

Those with parameters are functions that return the weighting, e.g. ``min_snr(gamma=5.0)``. A traced parameter out of
its range makes the weights NaN.

>>> [float(weighting(0.0)) for weighting in (eps, snr, x0, v, score, truncated_snr, flow)]
[1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 4.0]
>>> [round(float(weighting(0.0)), 3) for weighting in (min_snr(), p2(), edm(), logit_normal(), sigmoid())]
[1.0, 0.5, 5.0, 6.383, 0.5]
"""

import math

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import Finite, NonNegative, Positive, checked
from scorekit.checks import nan_unless
from scorekit.numerics import band_fractions, clip_to_interior, wide
from scorekit.schedules import time_derivative
from scorekit.trees import as_pytree
from scorekit.typing import Array, Number, Numbers, Schedule, Weighting

__all__ = [
    "band",
    "edm",
    "eps",
    "flow",
    "likelihood",
    "logit_normal",
    "min_snr",
    "p2",
    "per_log_snr",
    "score",
    "sigmoid",
    "snr",
    "truncated_snr",
    "v",
    "x0",
]


def eps(log_snr: Array) -> Array:
    """``lambda = 1``: the plain eps-MSE, "L_simple".

    Args:
      log_snr: log-SNR in nats, any shape, which the weights have.

    Source: Ho et al. 2020, eq. 14 (https://arxiv.org/abs/2006.11239).
    """
    log_snr = wide(log_snr)
    return jnp.where(jnp.isnan(log_snr), log_snr, 1.0)


def snr(log_snr: Array) -> Array:
    """``lambda = 1``: the SNR-weighted x0-MSE, which is :func:`eps`.

    Args:
      log_snr: log-SNR in nats, any shape, which the weights have.

    Source: Salimans & Ho 2022, sec. 4 (https://arxiv.org/abs/2202.00512).
    """
    return eps(log_snr)


def x0(log_snr: Array) -> Array:
    """``lambda = 1 / SNR``: the plain x0-MSE.

    Args:
      log_snr: log-SNR in nats, any shape, which the weights have.

    Source: Salimans & Ho 2022, sec. 4 (https://arxiv.org/abs/2202.00512).
    """
    return jnp.exp(-log_snr)


def v(log_snr: Array) -> Array:
    """``lambda = 1 + 1/SNR``: the plain v-MSE, or "SNR + 1" on x0.

    Args:
      log_snr: log-SNR in nats, any shape, which the weights have.

    Source: Salimans & Ho 2022, sec. 4 (https://arxiv.org/abs/2202.00512).
    """
    return 1.0 + jnp.exp(-log_snr)


def score(log_snr: Array) -> Array:
    """``lambda = 1 + SNR = 1 / sigma^2``: the plain score-MSE of a variance-preserving schedule.

    Args:
      log_snr: log-SNR in nats, any shape, which the weights have.

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456).
    """
    return 1.0 + jnp.exp(log_snr)


def truncated_snr(log_snr: Array) -> Array:
    """``lambda = max(SNR, 1) / SNR``.

    Args:
      log_snr: log-SNR in nats, any shape, which the weights have.

    Source: Salimans & Ho 2022, sec. 4 (https://arxiv.org/abs/2202.00512).
    """
    return jnp.maximum(1.0, jnp.exp(-log_snr))


def _min_snr(gamma: Number, log_snr: Array) -> Array:
    return nan_unless(jnp.asarray(gamma) > 0, jnp.minimum(1.0, gamma * jnp.exp(-log_snr)))


@checked
def min_snr(gamma: Positive[Number] = 5.0) -> Weighting:
    """``lambda = min(SNR, gamma) / SNR``.

    Args:
      gamma: the largest weight of the x0-MSE.

    Returns:
      ``log_snr -> lambda``, shaped like ``log_snr``.

    Source: Hang et al. 2023 (https://arxiv.org/abs/2303.09556).
    """
    return Partial(_min_snr, gamma)


def _p2(gamma: Number, k: Number, log_snr: Array) -> Array:
    valid = (jnp.asarray(gamma) >= 0) & (jnp.asarray(k) > 0)
    return nan_unless(valid, jnp.power(k + jnp.exp(log_snr), -gamma))


@checked
def p2(gamma: NonNegative[Number] = 1.0, k: Positive[Number] = 1.0) -> Weighting:
    """``lambda = 1 / (k + SNR)^gamma``.

    Args:
      gamma: exponent; 0 gives :func:`eps`.
      k: the SNR at which the weight turns.

    Returns:
      ``log_snr -> lambda``, shaped like ``log_snr``.

    Source: Choi et al. 2022 (https://arxiv.org/abs/2204.00227).
    """
    return Partial(_p2, gamma, k)


def _edm(sigma_data: Number, log_snr: Array) -> Array:
    return nan_unless(jnp.asarray(sigma_data) > 0, 1.0 + jnp.exp(-log_snr) / jnp.square(sigma_data))


@checked
def edm(sigma_data: Positive[Number] = 0.5) -> Weighting:
    """``lambda = 1 + 1 / (sigma_data^2 SNR)``: unit weight on the preconditioned network of EDM.

    Args:
      sigma_data: standard deviation of the data.

    Returns:
      ``log_snr -> lambda``, shaped like ``log_snr``.

    Source: Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364).
    """
    return Partial(_edm, sigma_data)


def flow(log_snr: Array) -> Array:
    """``lambda = 1 / (1 - t)^2``, ``t = sigmoid(-log_snr / 2)``: the plain velocity-MSE of the rectified flow.

    Args:
      log_snr: log-SNR in nats, any shape, which the weights have.

    Source: Lipman et al. 2022 (https://arxiv.org/abs/2210.02747); Kingma & Gao 2023 (https://arxiv.org/abs/2303.00848).
    """
    return jnp.square(1.0 + jnp.exp(-0.5 * log_snr))


def _logit_normal(mean: Number, std: Number, log_snr: Array) -> Array:
    logit = -0.5 * log_snr
    log_density = -0.5 * jnp.square((logit - mean) / std) - jnp.log(std) - 0.5 * math.log(2 * math.pi)
    # 1 / (t (1 - t)) = (1 + e^logit)(1 + e^-logit); flow = (1 + e^logit)^2.
    return jnp.exp(log_density + 3.0 * jax.nn.softplus(logit) + jax.nn.softplus(-logit))


@checked
def logit_normal(mean: Finite[Number] = 0.0, std: Positive[Number] = 1.0) -> Weighting:
    """:func:`flow` times the logit-normal density ``N(logit t; mean, std^2) / (t (1 - t))`` of flow time.

    With uniform times of a rectified flow it is the same objective as logit-normal times without it.

    Args:
      mean: mean of ``logit t``; positive values favour noise.
      std: standard deviation of ``logit t``.

    Returns:
      ``log_snr -> lambda``, shaped like ``log_snr``.

    Source: Esser et al. 2024 (https://arxiv.org/abs/2403.03206).
    """
    return Partial(_logit_normal, mean, std)


def _sigmoid(bias: Number, log_snr: Array) -> Array:
    return jax.nn.sigmoid(bias - log_snr)


@checked
def sigmoid(bias: Finite[Number] = 0.0) -> Weighting:
    """``lambda = sigmoid(bias - log_snr)``, defined per unit of log-SNR.

    Wrap it in :func:`per_log_snr` to train with uniform times of any schedule.

    Args:
      bias: the log-SNR at which the weight is 1/2, in nats.

    Returns:
      ``log_snr -> lambda``, shaped like ``log_snr``.

    Source: Kingma & Gao 2023 (https://arxiv.org/abs/2303.00848); Hoogeboom et al. 2024
    (https://arxiv.org/abs/2410.19324).
    """
    return Partial(_sigmoid, bias)


def _band(log_power: Array, fraction: Array, log_snr: Array) -> Array:
    log_odds = jnp.asarray(log_snr)[..., None] + log_power
    return jnp.sum(fraction * jax.nn.sigmoid(log_odds) * jax.nn.sigmoid(-log_odds), axis=-1)


@checked
def band(power: Positive[Numbers], count: Positive[Numbers] | None = None) -> Weighting:
    """Concentrates on the noise levels at which a frequency band is recovered; defined per unit of log-SNR.

    At log-SNR l the recoverable fraction of a Fourier coefficient of power P is ``g = P e^l / (1 + P e^l)`` (the gain
    of the Wiener filter), which rises from 0 to 1 around ``l = -log P``. Its rate,

        ``dg/dl = g (1 - g)``,

    is a peak of height 1/4 at ``-log P`` that decays as ``e^-|l + log P|`` and has the integral 1. (The x0-error ``P (1
    - g)`` decreases at the rate ``P g (1 - g)``.) The weighting is the mean of these peaks over the coefficients of the
    band, so that it also integrates to 1 over log-SNR for any band. Wrap it in :func:`per_log_snr` to train with
    uniform times, or train with λ = 1 and the times :func:`scorekit.times.band`: the same objective with less variance.

    Args:
      power: the powers P_k of the band, ``(K,)`` or a scalar: the selected part of
        :func:`scorekit.densities.spectra.power_spectrum`.
      count: number of coefficients with each power, ``(K,)``; equal by default.

    Returns:
      ``log_snr -> lambda``, shaped like ``log_snr``.

    >>> band(4.0)(-jnp.log(4.0))
    Array(0.25, dtype=float32)
    """
    return Partial(_band, *band_fractions(power, count))


def _times_rate(weighting: Weighting, schedule: Schedule, log_snr: Array) -> Array:
    return -time_derivative(schedule.log_snr, clip_to_interior(schedule.time_at(log_snr))) * weighting(log_snr)


@checked
def per_log_snr(weighting: Weighting, schedule: Schedule) -> Weighting:
    """``lambda(log_snr) = -weighting(log_snr) dlog_snr/dt``: a weighting per unit of log-SNR for uniform times.

    The objective ``int weighting ||eps - eps_hat||^2 dlog_snr`` then depends on the schedule through its end points
    only.

    Args:
      weighting: ``log_snr -> lambda`` per unit of log-SNR.
      schedule: the schedule whose times are uniform.

    Returns:
      ``log_snr -> lambda`` for uniform times.

    >>> from scorekit.schedules import GeometricVE
    >>> round(float(per_log_snr(eps, GeometricVE(sigma_min=0.1, sigma_max=10.0))(jnp.float32(0.0))), 3)
    9.21

    Source: Kingma & Gao 2023 (https://arxiv.org/abs/2303.00848).
    """
    return Partial(_times_rate, as_pytree(weighting), schedule)


def _half(log_snr: Array) -> Array:
    return jnp.full_like(log_snr, 0.5)


@checked
def likelihood(schedule: Schedule) -> Weighting:
    """``lambda = -1/2 dlog_snr/dt = g^2 / (2 sigma^2)``: the negative ELBO in nats (diffusion part).

    Args:
      schedule: the noise schedule.

    Returns:
      ``log_snr -> lambda`` for uniform times, in nats.

    >>> from scorekit.schedules import GeometricVE
    >>> round(float(likelihood(GeometricVE(sigma_min=0.1, sigma_max=10.0))(jnp.float32(0.0))), 3)
    4.605

    Source: Song et al. 2021 (https://arxiv.org/abs/2101.09258); Kingma et al. 2021 (https://arxiv.org/abs/2107.00630).
    """
    return per_log_snr(_half, schedule)
