"""Every schedule against its paper, its inverse, its ends and its gradients."""

import dataclasses
import functools
import inspect
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tables
from errors import raising
from tables import SCHEDULES

from scorekit import schedules
from scorekit.arguments import bounds_of
from scorekit.schedules import time_derivative

NOT_SCHEDULES = {"time_derivative"}

SLOW = {f"shifted_{name}" for name in ("sub_vp", "cosine", "ve", "functions")}
SLOW |= {"zero_terminal_linear_vp", "functions_all", "laplace_wide", "sigmoid_steep", "sigmoid_skewed"}
every_schedule = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SCHEDULES]
)
INNER = [1e-6, 1e-4, 0.01, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.99, 1 - 1e-4, 1 - 1e-6]
TIMES = np.float32([0.0, *INNER, 1.0])


TRACES = []


@jax.jit
def evaluate(schedule, t, levels):
    """Everything the float32 tests need, compiled once per kind of schedule."""
    TRACES.append(schedule)
    values = schedule.alpha(t), schedule.sigma(t), schedule.log_snr(t)
    return values, *inverses_of(schedule, t, values[2], levels)


@jax.jit
def gradient(schedule, t):
    """At each t the gradients of alpha + sigma + log_snr, the last at the nearest t between the ends."""
    inner = jnp.clip(t, t[1], t[-2])
    total = lambda s, t, inner: s.alpha(t) + s.sigma(t) + s.log_snr(inner)
    return jax.lax.map(lambda at: jax.grad(total)(schedule, *at), (t, inner))


@jax.jit
def evaluate_batch(batch, schedule, direction, t, inner, levels):
    """Everything the float64 tests need: values of a batch of schedules, and of one its derivatives and inverse.

    Times are taken one by one here: functions of single numbers compile in half the time.
    """
    outputs = lambda s, t: (s.alpha(t), s.sigma(t), s.log_snr(t))
    values = jax.lax.map(lambda one: jax.lax.map(lambda t: outputs(one[0], t), t), (batch, jnp.arange(3)))
    along = jax.tree.map(lambda d: jnp.stack([d, jnp.zeros_like(d)]), direction), jnp.array([0.0, 1.0])
    derivatives = lambda tangent: jax.lax.map(lambda t: jax.jvp(outputs, (schedule, t), tangent)[1], inner)
    by_leaves, by_time = ([value[i] for value in jax.lax.map(derivatives, along)] for i in range(2))
    return values, by_leaves, by_time, inverses_of(schedule, t, values[2][0], levels, each=jax.lax.map)


def inverses_of(schedule, t, log_snr, levels, each=lambda function, x: function(x)):
    """The times of both log-SNRs, the log-SNR of the second and the rates at t and there; each function once."""
    t_back, back = jnp.split(each(schedule.time_at, jnp.concatenate([log_snr, levels])), [t.size])
    slope, back_slope = jnp.split(each(lambda t: rate(schedule, t), jnp.concatenate([t, back])), [t.size])
    return t_back, back, each(schedule.log_snr, back), slope, back_slope


def rate(schedule, t):
    return time_derivative(schedule.log_snr, jnp.clip(t, 1e-20, 1 - jnp.finfo(t.dtype).epsneg))


def levels_of(schedule, dtype):
    levels = np.linspace(-20, 20, 81).astype(dtype)
    first, last = (float(schedule.log_snr(end)) for end in (0.0, 1.0))
    inside = (levels < first) & (levels > last)
    return np.where(inside, levels, levels[inside][0])  # one shape for all, so that little is compiled


@every_schedule
def test_not_a_number_stays_visible(name):
    """Of a time, alpha or sigma is NaN, and with it every state; a log-SNR is, but where a schedule is a table."""
    schedule = SCHEDULES[name].make()
    levels = [level(np.float32(np.nan)) for level in (schedule.alpha, schedule.sigma, schedule.log_snr)]
    assert np.isnan(levels[1:]).all(), levels


@functools.cache
def float32_report(name):
    schedule = SCHEDULES[name].make()
    levels = levels_of(schedule, np.float32)
    return schedule, levels, jax.tree.map(np.asarray, evaluate(schedule, TIMES, levels))


H = 1e-6
PROBES = np.array([0.01, 0.2, 0.437, 0.7, 0.98])
DENSE = np.concatenate(
    [np.geomspace(1e-9, 0.1, 100), np.linspace(0.1001, 0.9999, 300), 1 - np.geomspace(9e-5, 1e-9, 100)]
)


@functools.cache
def float64_report(name):
    """The schedule and the ones a step H along and against a direction, at INNER, PROBES and their neighbours."""
    with jax.enable_x64(True):
        schedule = jax.tree.map(lambda x: jnp.asarray(x, float), SCHEDULES[name].make())
        direction = jax.tree.map(lambda x: np.cos(1.0 + np.arange(x.size)).reshape(x.shape) * (1 + abs(x)), schedule)
        if name == "edm_from_zero":  # sigma_min = 0 is a boundary
            direction = dataclasses.replace(direction, sigma_min=jnp.zeros(()))
        batch = jax.tree.map(lambda x, d: jnp.stack([x, x + H * d, x - H * d]), schedule, direction)
        t = np.concatenate([np.float64(INNER), PROBES, PROBES + H, PROBES - H, DENSE])
        levels = levels_of(schedule, np.float64)
        out = evaluate_batch(batch, schedule, direction, t, PROBES, levels)
        return t, levels, jax.tree.map(np.asarray, out)


def reference(name, t):
    """(alpha, sigma, log_snr, relative error of alpha that float32 cannot avoid) at exactly these times."""
    case = SCHEDULES[name]
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha, sigma = case.reference(np.asarray(t, np.longdouble))
        return alpha, sigma, 2 * (np.log(alpha) - np.log(sigma)), np.nan_to_num(case.alpha_error / alpha, posinf=0.0)


@every_schedule
def test_float32_keeps_relative_precision_to_both_ends(name):
    alpha, sigma, log_snr = float32_report(name)[2][0]
    true_alpha, true_sigma, true_log_snr, unavoidable = reference(name, TIMES)
    assert alpha.dtype == sigma.dtype == log_snr.dtype == np.float32
    zero, finite = true_alpha == 0, np.isfinite(true_log_snr)
    np.testing.assert_array_equal(alpha[zero], 0.0)
    error = np.abs(alpha[~zero] / true_alpha[~zero] - 1)
    assert np.all(error <= 3e-6 + unavoidable[~zero])
    np.testing.assert_allclose(sigma, np.float64(true_sigma), rtol=4e-6)
    np.testing.assert_array_equal(log_snr[~finite], np.float64(true_log_snr[~finite]))
    error = np.abs(log_snr[finite] - true_log_snr[finite])
    assert np.all(error <= 5e-6 * np.maximum(1, np.abs(true_log_snr[finite])) + 2 * unavoidable[finite])


@every_schedule
def test_float64_agrees_with_the_papers(name):
    t, _, (values, *_) = float64_report(name)
    n = len(INNER)
    for value, truth, tolerance in zip(values, reference(name, t[:n]), (1e-9, 1e-9, 1e-8), strict=False):
        np.testing.assert_allclose(value[0, :n], np.float64(truth), rtol=tolerance, atol=tolerance * 0.01)


def check_inverse(eps, t, log_snr, levels, inverses, alpha_error):
    """``alpha_error(t)`` is the relative error of alpha that this precision cannot avoid."""
    t_back, back, level_back, slope, back_slope = (np.float64(x) for x in inverses)
    # Relative to t near 0 and absolute near 1, as far as rounding t and log_snr once each allows.
    allowed = 40 * eps * (t + (1 + np.abs(log_snr)) / np.abs(slope)) + 2 * alpha_error(t) / np.abs(slope)
    assert np.all(np.abs(t_back - t) <= allowed)
    assert np.all(np.abs(t_back - t)[t > 0.5] < 400 * eps)
    last = back == 1.0  # levels beyond the last time before 1
    allowed = 40 * eps * (1 + np.abs(levels) + np.abs(back_slope) * back) + 4 * alpha_error(back)
    assert np.all(np.abs(level_back - levels)[~last] <= allowed[~last])
    return levels[last]


@every_schedule
def test_time_at_inverts_log_snr_in_float32(name):
    schedule, levels, (values, t_back, *inverses) = float32_report(name)
    eps, inner = np.finfo(np.float32).eps, slice(1, -1)
    inverses = (t_back[inner], *inverses[:2], inverses[2][inner], inverses[3])
    error = lambda t: np.float64(reference(name, t)[3])
    t, log_snr = np.float64(TIMES[inner]), np.float64(values[2][inner])
    beyond = check_inverse(eps, t, log_snr, levels, inverses, error)
    assert np.all(beyond < 1e-3 + schedule.log_snr(np.float32(1 - eps)))
    np.testing.assert_allclose(t_back[[0, -1]], [0, 1], atol=1e-6)
    if np.isinf(values[2][0]):  # then sigma falls like a power of t, and t keeps its relative precision
        small = t < 0.3
        np.testing.assert_array_less(np.abs(t_back[inner] / t - 1)[small], 100 * eps * (1 + np.abs(log_snr[small])))


@every_schedule
def test_time_at_inverts_log_snr_in_float64(name):
    t, levels, (values, _, _, inverses) = float64_report(name)
    check_inverse(np.finfo(np.float64).eps, t, values[2][0], levels, inverses, np.zeros_like)


@every_schedule
def test_time_at_of_infinite_log_snr_is_an_end_point(name):
    schedule, _, (values, *_) = float32_report(name)
    log_snr = values[2]
    t = np.asarray(evaluate(schedule, TIMES, np.float32([np.inf] + [-np.inf] * 80))[2])
    assert not np.any(np.isnan(t))
    assert t[0] == 0.0 if np.isinf(log_snr[0]) else t[0] <= 0.0
    assert t[1] == 1.0 if np.isinf(log_snr[-1]) else t[1] >= 1.0


@every_schedule
def test_gradients_with_respect_to_parameters_are_finite(name):
    """Of alpha and sigma at both ends too, and of log_snr between them."""
    schedule = SCHEDULES[name].make()
    if not jax.tree.leaves(schedule):
        pytest.skip("has no numbers")
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient(schedule, TIMES)))


@every_schedule
def test_derivatives_agree_with_finite_differences(name):
    """Both with respect to the schedule's numbers and to t."""
    _, _, (values, by_leaves, by_time, _) = float64_report(name)
    n, p = len(INNER), len(PROBES)
    at, up, down = (slice(n + i * p, n + (i + 1) * p) for i in range(3))
    for value, exact in zip(values, by_leaves, strict=True):
        np.testing.assert_allclose(exact, (value[1, at] - value[2, at]) / (2 * H), rtol=2e-5, atol=1e-6)
    for value, exact in zip(values, by_time, strict=True):
        np.testing.assert_allclose(exact, (value[0, up] - value[0, down]) / (2 * H), rtol=2e-5, atol=1e-6)


@every_schedule
def test_changing_a_parameter_does_not_retrace(name):
    schedule, levels, (values, *_) = float32_report(name)
    other, before = jax.tree.map(lambda x: x * 1.01 + 0.01, schedule), len(TRACES)
    changed = evaluate(other, TIMES, levels)[0]
    assert len(TRACES) == before
    assert not jax.tree.leaves(schedule) or not np.allclose(changed, values, rtol=1e-6)


def test_vmap_over_a_parameter():
    rates = np.float32([5.0, 10.0, 20.0])
    sigma = lambda b: schedules.shifted(schedules.LinearVP(beta_max=b), 2.0).sigma(0.5)
    batched, single = jax.jit(jax.vmap(sigma))(rates), jax.jit(sigma)
    one_by_one = [single(b) for b in rates]
    np.testing.assert_allclose(batched, one_by_one, rtol=1e-6)


def test_low_precision_parameters_and_times_are_computed_in_float32():
    t = jnp.asarray(0.5, jnp.bfloat16)
    assert schedules.Cosine().alpha(t).dtype == jnp.float32
    assert time_derivative(lambda t: t**2, t).dtype == jnp.float32


def test_every_schedule_has_a_case():
    cases = inspect.getsource(tables).partition("\nSCHEDULES = {")[2]
    assert {name for name in schedules.__all__ if not re.search(rf"\b{name}\b", cases)} == NOT_SCHEDULES


def test_bisected_time_is_differentiable_so_a_shift_keeps_its_drift():
    plain = schedules.schedule_from_functions(lambda t: 1.0 - t, lambda t: t)
    exact = schedules.RectifiedFlow()
    grad = lambda s: jax.jit(jax.vmap(jax.grad(s.time_at)))(np.float32([-3.0, 0.5, 4.0]))
    np.testing.assert_allclose(grad(plain), grad(exact), rtol=1e-5)
    np.testing.assert_allclose(
        *(jax.jit(lambda s=s: time_derivative(schedules.shifted(s, 3.0).alpha, 0.3))() for s in (plain, exact)),
        rtol=1e-5,
    )


@every_schedule
def test_bounds_are_those_of_the_classes_too(name):
    schedule = SCHEDULES[name].make()
    for field, bounded in bounds_of(type(schedule)).items():
        for value in bounded.bound.outside():
            with pytest.raises(ValueError, match=f"{field} must be {re.escape(str(bounded.bound))}, got"):
                dataclasses.replace(schedule, **{field: value})


test_invalid_arguments_raise = raising(
    {
        "betas must have shape": lambda: schedules.from_betas([0.1]),
        "log_snr must decrease": lambda: schedules.schedule_from_functions(lambda t: t, lambda t: 1.0 - t),
        "beta_max must be finite and >= beta_min = 0.1": lambda: replace(schedules.LinearVP(), beta_max=0.0),
        "end must be finite and > start = -3.0": lambda: replace(schedules.Sigmoid(), end=-4.0),
        "sigma_max must be finite and > sigma_min = 0.01": lambda: replace(schedules.GeometricVE(), sigma_max=0.01),
        "sigma_max must be finite and > sigma_min = 0.002": lambda: replace(schedules.EDM(), sigma_max="80"),
        "sigma_max must be finite and > sigma_min = 0.1": lambda: schedules.EDM(sigma_min=0.1, sigma_max=np.inf),
        "log_snr_max must be finite and > log_snr_min = 5": lambda: schedules.learned(log_snr_max=4.0, log_snr_min=5.0),
        "table must have shape": lambda: replace(schedules.from_betas([0.1, 0.2]), table=1.0),
        "table must be finite and decrease strictly": lambda: replace(
            schedules.from_betas([0.1, 0.2]), table=[1.0, 1.0]
        ),
        "slopes must have shape": lambda: replace(schedules.learned(2), slopes=np.zeros(2)),
        "heights must be finite": lambda: replace(schedules.learned(2), heights=[np.nan, 0.0]),
        "base must be variance preserving": lambda: schedules.ZeroTerminalSNR(schedules.RectifiedFlow()),
        "base must be variance": lambda: replace(schedules.ZeroTerminalSNR(schedules.Cosine()), base=schedules.EDM()),
    }
)


def test_factories_accept_traced_parameters():
    def alpha(x):
        parts = [
            schedules.LinearVP(beta_min=x, beta_max=20.0),
            schedules.EDM(sigma_min=x, sigma_max=80.0),
            schedules.GeometricVE(sigma_min=x, sigma_max=2 * x),
            schedules.Sigmoid(start=-x, end=x),
            schedules.shifted(schedules.Cosine(s=x), x),
            schedules.learned(3, x, -x),
            schedules.ZeroTerminalSNR(schedules.LinearVP(beta_min=x)),
        ]
        return sum(p.alpha(0.5) + p.sigma(0.5) for p in parts)

    np.testing.assert_allclose(jax.jit(alpha)(2.0), alpha(2.0), rtol=1e-6)
