"""Schedules with closed forms of their own: tables of betas, shifts, the learned spline, derivatives at kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import DDPM, HEIGHTS, SLOPES, STABLE_DIFFUSION, in_float64, learned_with, table_log_snr

from scorekit import schedules
from scorekit.schedules import time_derivative

each_table = pytest.mark.parametrize("betas", [DDPM, STABLE_DIFFUSION], ids=["ddpm", "stable_diffusion"])


@jax.jit
def table_values(schedule, t):
    return schedule.alpha(t), schedule.sigma(t), schedule.log_snr(t)


@each_table
def test_from_betas_is_the_cumulative_product_at_its_knots(betas):
    schedule, t = schedules.from_betas(betas), np.linspace(0, 1, len(betas), dtype=np.float32)
    product = np.cumprod(1 - betas)
    alpha, sigma = table_values(schedule, t)[:2]
    np.testing.assert_allclose(alpha**2, product, rtol=1e-5)
    np.testing.assert_allclose(sigma**2, 1 - product, rtol=1e-5)
    # Halfway between knots the log-SNR is the mean of its neighbours.
    middle = np.append(np.float32((t[:-1] + t[1:]) / 2), t[-1])  # as many times as knots
    table = np.float64(table_log_snr(betas))
    log_snr = table_values(schedule, middle)[2][:-1]
    np.testing.assert_allclose(log_snr[::100], ((table[:-1] + table[1:]) / 2)[::100], atol=1e-5)


@each_table
def test_zero_terminal_snr_is_the_published_table_algorithm(betas):
    alphas = np.sqrt(np.cumprod(1 - betas))  # Lin et al. 2023, algorithm 1
    shifted = alphas - alphas[-1]
    rescaled = shifted * alphas[0] / (alphas[0] - alphas[-1])
    schedule = schedules.ZeroTerminalSNR(schedules.from_betas(betas))
    alpha, sigma, _ = table_values(schedule, np.linspace(0, 1, len(betas), dtype=np.float32))
    np.testing.assert_allclose(alpha, rescaled, rtol=1e-5, atol=3e-7)
    np.testing.assert_allclose(sigma, np.sqrt(1 - rescaled**2), rtol=1e-5)
    assert alpha[-1] == 0.0
    assert float(alpha[0]) == pytest.approx(alphas[0], rel=1e-7)


def test_shift_moves_log_snr_and_is_the_flow_shift():
    @jax.jit
    def values(factor, t):
        flow, base, inner = schedules.shifted(schedules.RectifiedFlow(), factor), schedules.Cosine(), t[1:-1]
        both = [(s.sigma(inner) / s.alpha(inner), s.log_snr(inner)) for s in (base, schedules.shifted(base, factor))]
        return flow.sigma(t), *both

    t = np.linspace(0, 1, 51)
    for factor in (0.5, 1.0, 3.0, 12.0):
        flow, (ratio, log_snr), (shifted_ratio, shifted_log_snr) = map(jax.device_get, values(factor, t))
        np.testing.assert_allclose(flow, factor * t / (1 + (factor - 1) * t), rtol=2e-6)
        np.testing.assert_allclose(shifted_ratio, factor * ratio, rtol=1e-5)
        np.testing.assert_allclose(shifted_log_snr, log_snr - 2 * np.log(factor), atol=1e-5)


def test_learned_keeps_its_endpoints_during_training_and_remains_monotone():
    rng, t = np.random.default_rng(2), np.linspace(0, 1, 401, dtype=np.float32)
    gradient = jax.jit(jax.grad(lambda s, w: jnp.sum(w * s.log_snr(t)) + jnp.sum(s.alpha(t) * w**2)))
    log_snr = jax.jit(lambda s, t: s.log_snr(t))
    for top, bottom in ((13.3, -5.0), (9.21, -10.07), (0.1, -0.3)):
        schedule = learned_with(HEIGHTS, SLOPES, log_snr_max=top, log_snr_min=bottom)
        for _ in range(4):
            step = gradient(schedule, np.float32(rng.normal(size=401)))
            schedule = learned_with(
                schedule.heights - 0.05 * step.heights,
                schedule.slopes - 0.05 * step.slopes,
                log_snr_max=top,
                log_snr_min=bottom,
            )
            ends = log_snr(schedule, np.float32([0.0, 1.0]))
            assert (float(ends[0]), float(ends[1])) == (float(np.float32(top)), float(np.float32(bottom)))
        assert not np.allclose(schedule.heights, HEIGHTS, atol=0.05)


@in_float64
def test_learned_is_valid_for_any_leaves_and_once_differentiable():
    rng, t = np.random.default_rng(3), np.linspace(0, 1, 2001)
    log_snr = jax.jit(lambda s, t: s.log_snr(t))
    back = jax.jit(lambda s, t: s.time_at(s.log_snr(t)))
    slope = jax.jit(lambda s, t: time_derivative(s.log_snr, t))
    for scale in (0.5, 3.0, 30.0, 300.0):
        schedule = learned_with(scale * rng.normal(size=6), scale * rng.normal(size=7))
        assert np.all(np.diff(log_snr(schedule, t)) < 0)
        np.testing.assert_allclose(back(schedule, t), t, atol=1e-7)
        knots = np.arange(1, 6) / 6
        np.testing.assert_allclose(slope(schedule, knots - 1e-12), slope(schedule, knots + 1e-12), rtol=1e-4)
    np.testing.assert_allclose(log_snr(schedules.learned(5), t), 13.3 - 18.3 * t, atol=1e-12)


def test_derivatives_at_a_kink_and_at_an_end():
    assert time_derivative(schedules.Laplace(scale=0.5).log_snr, 0.5) == pytest.approx(-1.0)
    assert time_derivative(schedules.Cosine().sigma, 0.0) == pytest.approx(np.pi / 2)
