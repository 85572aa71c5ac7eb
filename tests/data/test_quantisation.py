"""Discrete data to floats and back, and dequantisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.data import dequantise, from_unit, to_unit

BINS = [2, 17, 256]


@pytest.mark.parametrize("bins", BINS)
def test_to_unit_and_from_unit_are_inverses_with_exact_ends(bins):
    x = np.arange(bins)
    unit = to_unit(x.astype(np.uint8), bins)
    assert unit.dtype == jnp.float32
    assert (unit[0], unit[-1]) == (-1.0, 1.0)
    np.testing.assert_allclose(unit, np.linspace(-1, 1, bins), atol=1e-7)
    np.testing.assert_array_equal(from_unit(unit, bins), x)


@pytest.mark.parametrize("bins", BINS)
def test_from_unit_rounds_to_the_nearest_value_and_clips(bins):
    unit = np.linspace(-1, 1, bins)
    near = unit[:, None] + np.array([-0.49, 0.49]) * 2 / (bins - 1)
    nearest = np.abs(np.clip(near, -1, 1)[..., None] - unit).argmin(-1)
    np.testing.assert_array_equal(from_unit(near, bins), nearest)
    np.testing.assert_array_equal(
        from_unit(jnp.array([-jnp.inf, -3.0, 3.0, jnp.inf]), bins), [0, 0, bins - 1, bins - 1]
    )


@pytest.mark.parametrize("bins", BINS)
def test_dequantise_is_uniform_within_each_bin(bins):
    x = np.repeat(np.arange(bins, dtype=np.uint8), 400).reshape(bins, 400)
    y = np.asarray(dequantise(jax.random.key(0), x, bins), np.float64)
    within = (y + 1) * bins / 2 - x  # recovers u
    assert within.min() >= -1e-4
    assert within.max() <= 1 + 1e-4
    standard_error = np.sqrt(1 / 12 / within.size)
    assert abs(within.mean() - 0.5) < 4 * standard_error
    assert abs(within.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / within.size)
    centre = np.asarray(to_unit(np.arange(bins), bins)) * (bins - 1) / bins
    np.testing.assert_allclose(y.mean(axis=1), centre, atol=5 * 2 / bins * np.sqrt(1 / 12 / 400))
