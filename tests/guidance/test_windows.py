"""Windows: cutting, blending, and samples of a Gaussian process longer than what its denoiser has seen."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import lagged
from rule_table import same

from scorekit import denoisers, densities, guidance, schedules
from scorekit.guidance import windows
from scorekit.typing import Prediction

SCHEDULE = schedules.Cosine()
PHI = 0.95


def exact(size):
    """The denoiser of a stationary first-order autoregression with unit variance, for signals ``(B, size, 1)``."""
    flat = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(size), covariance=lagged(size, PHI)), SCHEDULE)
    return lambda x, t: jax.tree.map(lambda leaf: leaf[..., None], flat(x[..., 0], t))


@pytest.mark.slow
def test_blend_windows_inverts_cut_windows_with_the_documented_weights():
    x = {"a": jax.random.normal(jax.random.key(0), (3, 14, 2)), "b": jnp.arange(28.0).reshape(2, 14)}
    parts = windows.cut_windows(x, 6, 4)
    assert parts["a"].shape == (9, 6, 2)
    np.testing.assert_array_equal(parts["a"][4], x["a"][1, 4:10])
    back = windows.blend_windows(parts, 3, 4)
    chex.assert_trees_all_close(back, x, rtol=1e-6)
    ones = windows.blend_windows(jnp.array([[1.0] * 6, [0.0] * 6]), 2, 4)[0]
    shape = np.sin(np.pi * (np.arange(6) + 0.5) / 6) ** 2
    shared = shape[4:] / (shape[4:] + shape[:2])
    np.testing.assert_allclose(ones, [*[1] * 4, *shared, *[0] * 4], rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_one_window_is_the_denoiser_and_pointwise_denoisers_are_unchanged():
    x, t = jax.random.normal(jax.random.key(1), (2, 8, 1)), jnp.array([0.3, 0.6])
    same(guidance.windowed(exact(8), 8, 4)(x, t), exact(8)(x, t))
    white = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=0.5), SCHEDULE)
    found = jax.jit(guidance.windowed(white, 4, 2))(x, t)
    same(found, white(x, t))


def test_windowed_preserves_x_t():
    x, t = jax.random.normal(jax.random.key(2), (2, 20, 1)), jnp.float32(0.4)
    found = guidance.windowed(exact(8), 8, 4)(x, t)
    state = SCHEDULE.alpha(t) * found.x0 + SCHEDULE.sigma(t) * found.eps
    np.testing.assert_allclose(state, x, atol=1e-5)


def test_windowed_conditions_are_in_window_order():
    condition = jnp.arange(12.0).reshape(2, 6)
    of_windows = windows.cut_windows(condition, 4, 2)
    denoiser = lambda x, t: Prediction(x + of_windows, x)
    x = jnp.zeros((2, 6))
    np.testing.assert_allclose(guidance.windowed(denoiser, 4, 2)(x, 0.5).x0, condition, rtol=1e-6)
