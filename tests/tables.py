"""Tables that the contract tests run through: every schedule next to an independent reference formula.

References are written naively from the papers (``sqrt(1 - alpha^2)`` and all) and evaluated in extended precision, so
they share nothing with the formulas under test. ``make`` builds the schedule in the precision that is enabled.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.schedules import (
    EDM,
    Cosine,
    GeometricVE,
    Laplace,
    LinearVP,
    RectifiedFlow,
    Sigmoid,
    SubVP,
    ZeroTerminalSNR,
    from_betas,
    learned,
    schedule_from_functions,
    shifted,
)

if np.finfo(np.longdouble).nmant < 60:  # pragma: no cover
    raise RuntimeError("the reference formulas need an 80-bit long double")

PI = 4 * np.arctan(np.longdouble(1))
DDPM = np.linspace(1e-4, 0.02, 1000)
STABLE_DIFFUSION = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A schedule and its reference: ``reference(t) -> (alpha, sigma)`` of long doubles.

    ``alpha_error`` is the absolute error that float32 cannot avoid in alpha (a difference of two rounded numbers).
    """

    make: Callable
    reference: Callable
    alpha_error: float = 0.0


def _logistic(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def preserving(log_snr):
    """(alpha, sigma) of a variance-preserving schedule."""
    return lambda t: (np.sqrt(_logistic(log_snr(t))), np.sqrt(_logistic(-log_snr(t))))


def _vp(t, low=0.1, high=20.0):
    alpha_squared = np.exp(-(low * t + (high - low) * t**2 / 2))
    return np.sqrt(alpha_squared), np.sqrt(1 - alpha_squared)


def _sub_vp(t):
    alpha, sigma = _vp(t)
    return alpha, sigma**2


def _cosine(s):
    def reference(t):
        s_ = np.longdouble(s)
        alpha = np.cos(PI / 2 * (t + s_) / (1 + s_)) / np.cos(PI / 2 * s_ / (1 + s_))
        alpha = np.where(t == 1, 0, alpha)
        return alpha, np.sqrt(1 - alpha**2)

    return reference


def _karras(low, high, rho):
    low, high = np.longdouble(low), np.longdouble(high)
    return lambda t: (np.ones_like(t), (low ** (1 / rho) + t * (high ** (1 / rho) - low ** (1 / rho))) ** rho)


def _sigmoid(start, end, tau):
    def reference(t):
        noise = lambda t: _logistic((start + t * (end - start)) / np.longdouble(tau))  # 1 - alpha^2 before rescaling
        zero, one = np.longdouble(0), np.longdouble(1)
        rise = lambda a, b: noise(b) - noise(a)
        fall = lambda a, b: _logistic(-(start + a * (end - start)) / np.longdouble(tau)) - _logistic(
            -(start + b * (end - start)) / np.longdouble(tau)
        )
        return np.sqrt(fall(t, one) / fall(zero, one)), np.sqrt(rise(zero, t) / rise(zero, one))

    return reference


def _laplace(mean, scale):
    def log_snr(t):
        with np.errstate(divide="ignore"):
            return mean - scale * np.sign(0.5 - t) * np.log(1 - 2 * np.abs(t - 0.5))

    return log_snr


def table_log_snr(betas):
    """The log-SNR at the knots by the published cumulative product."""
    alpha_squared = np.cumprod(1 - np.asarray(betas, np.longdouble))
    return np.log(alpha_squared / (1 - alpha_squared))


def _interpolated(betas):
    table = table_log_snr(betas)

    def log_snr(t):
        position = t * (len(table) - 1)
        index = np.clip(np.floor(position).astype(int), 0, len(table) - 2)
        return table[index] + (position - index) * (table[index + 1] - table[index])

    return log_snr


HEIGHTS = np.random.default_rng(0).normal(size=6)
SLOPES = np.random.default_rng(1).normal(size=7)


def learned_with(heights, slopes, **kwargs):
    """A learned schedule with these leaves."""
    return dataclasses.replace(
        learned(len(heights), **kwargs), heights=jnp.asarray(heights, float), slopes=jnp.asarray(slopes, float)
    )


def _spline(heights, slopes, top, bottom, floor=1e-3):
    """Gregory & Delbourgo's rational quadratic, knot by knot."""
    k = len(heights)
    share = np.exp(heights) / np.exp(heights).sum()
    y = np.concatenate([[0], np.cumsum(floor / k + (1 - floor) * share)])
    d = floor + (1 - floor) * np.log1p(np.exp(slopes)) / np.log(2)

    def log_snr(t):
        values = []
        for one in np.atleast_1d(t):
            i = min(int(one * k), k - 1)
            z, s = one * k - i, k * (y[i + 1] - y[i])
            top_, bottom_ = s * z**2 + d[i] * z * (1 - z), s + (d[i + 1] + d[i] - 2 * s) * z * (1 - z)
            values.append(y[i] + (y[i + 1] - y[i]) * top_ / bottom_)
        return top + (bottom - top) * np.array(values).reshape(np.shape(t))

    return log_snr


def _moved(reference, factor):
    """The reference of a shifted variance-preserving schedule."""

    def log_snr(t):
        alpha, sigma = reference(t)
        with np.errstate(divide="ignore"):
            return 2 * np.log(alpha) - 2 * np.log(sigma * factor)

    return preserving(log_snr)


def _moved_sub_vp(factor):
    def reference(t):  # sigma = 1 - alpha^2 and sigma = factor * ratio * alpha
        alpha, sigma = _sub_vp(t)
        q = factor * sigma / alpha
        new = (np.sqrt(q**2 + 4) - q) / 2
        return new, 1 - new**2

    return reference


def _flow_shift(factor):
    def reference(t):
        moved = factor * t / (1 + (factor - 1) * t)
        return (1 - t) / (1 + (factor - 1) * t), moved

    return reference


def _zero_terminal(reference):
    def rescaled(t):
        first, last = reference(np.longdouble(0))[0], reference(np.longdouble(1))[0]
        alpha = (reference(t)[0] - last) * first / (first - last)
        return alpha, np.sqrt(1 - alpha**2)

    return rescaled


_ddpm, _sd = _interpolated(DDPM), _interpolated(STABLE_DIFFUSION)
_flow = lambda t: (1 - t, t)
_plain_flow = (lambda t: 1.0 - t, lambda t: t)
_flow_log_snr = lambda t: 2.0 * (jnp.log1p(-t) - jnp.log(t))
_flow_time = lambda log_snr: 1.0 / (1.0 + jnp.exp(0.5 * log_snr))

SCHEDULES = {
    "linear_vp": Case(LinearVP, _vp),
    "linear_vp_constant": Case(lambda: LinearVP(beta_min=5.0, beta_max=5.0), lambda t: _vp(t, 5.0, 5.0)),
    "sub_vp": Case(SubVP, _sub_vp),
    "cosine": Case(Cosine, _cosine(0.0)),
    "cosine_offset": Case(lambda: Cosine(s=0.008), _cosine(0.008)),
    "geometric_ve": Case(GeometricVE, lambda t: (np.ones_like(t), 0.01 * np.longdouble(5000.0) ** t)),
    "edm": Case(EDM, _karras(0.002, 80.0, 7)),
    "edm_rho3": Case(lambda: EDM(sigma_min=0.01, sigma_max=20.0, rho=3.0), _karras(0.01, 20.0, 3)),
    "edm_from_zero": Case(lambda: EDM(sigma_min=0.0, sigma_max=80.0, rho=2.0), _karras(0.0, 80.0, 2)),
    "rectified_flow": Case(RectifiedFlow, _flow),
    "sigmoid": Case(Sigmoid, _sigmoid(-3, 3, 1)),
    "sigmoid_skewed": Case(lambda: Sigmoid(start=0.0, end=3.0, tau=0.7), _sigmoid(0, 3, 0.7)),
    "sigmoid_steep": Case(lambda: Sigmoid(start=-3.0, end=3.0, tau=0.1), _sigmoid(-3, 3, 0.1)),
    "laplace": Case(Laplace, preserving(_laplace(0, 0.5))),
    "laplace_wide": Case(lambda: Laplace(mean=1.0, scale=2.0), preserving(_laplace(1, 2))),
    "ddpm_table": Case(lambda: from_betas(DDPM), preserving(_ddpm)),
    "stable_diffusion_table": Case(lambda: from_betas(STABLE_DIFFUSION), preserving(_sd)),
    "learned": Case(lambda: learned_with(HEIGHTS, SLOPES), preserving(_spline(HEIGHTS, SLOPES, 13.3, -5.0))),
    "shifted_linear_vp": Case(lambda: shifted(LinearVP(), 2.0), _moved(_vp, 2)),
    "shifted_sub_vp": Case(lambda: shifted(SubVP(), 0.5), _moved_sub_vp(0.5)),
    "shifted_cosine": Case(lambda: shifted(Cosine(s=0.008), 4.0), _moved(_cosine(0.008), 4)),
    "shifted_ve": Case(
        lambda: shifted(GeometricVE(), 3.0), lambda t: (np.ones_like(t), 0.03 * np.longdouble(5000.0) ** t)
    ),
    "shifted_flow": Case(lambda: shifted(RectifiedFlow(), 3.0), _flow_shift(3)),
    "zero_terminal_linear_vp": Case(lambda: ZeroTerminalSNR(LinearVP()), _zero_terminal(_vp), 3e-9),
    "zero_terminal_table": Case(
        lambda: ZeroTerminalSNR(from_betas(STABLE_DIFFUSION)), _zero_terminal(preserving(_sd)), 3e-8
    ),
    "functions": Case(lambda: schedule_from_functions(*_plain_flow), _flow),
    "functions_all": Case(
        lambda: schedule_from_functions(*_plain_flow, log_snr=_flow_log_snr, time_at=_flow_time), _flow
    ),
    "shifted_functions": Case(lambda: shifted(schedule_from_functions(*_plain_flow), 3.0), _flow_shift(3)),
}


def in_float64(test):
    """Runs a test with float64 enabled, so that it can compare with references to many digits."""

    @functools.wraps(test)
    def wrapped(*args, **kwargs):
        with jax.enable_x64(True):
            return test(*args, **kwargs)

    return wrapped


B, D = 13, 4
"""One shape for all small arrays of the exactness tests: eager operations compile once per shape."""

U = (np.arange(20_000) + 0.5) / 20_000
"""Midpoints, to integrate over [0, 1]."""
