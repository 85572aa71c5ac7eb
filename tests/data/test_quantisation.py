"""Pixels to floats and back, and dequantisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.data import dequantise, from_unit, to_unit

LEVELS = [2, 17, 256]


@pytest.mark.parametrize("levels", LEVELS)
def test_to_unit_is_an_exact_inverse_with_exact_ends(levels):
    x = np.arange(levels)
    unit = to_unit(x.astype(np.uint8), levels)
    assert unit.dtype == jnp.float32
    assert (unit[0], unit[-1]) == (-1.0, 1.0)
    np.testing.assert_allclose(unit, np.linspace(-1, 1, levels), atol=1e-7)
    np.testing.assert_array_equal(from_unit(unit, levels), x)


@pytest.mark.parametrize("levels", LEVELS)
def test_from_unit_rounds_to_the_nearest_level_and_clips(levels):
    unit = np.linspace(-1, 1, levels)
    near = unit[:, None] + np.array([-0.49, 0.49]) * 2 / (levels - 1)
    nearest = np.abs(np.clip(near, -1, 1)[..., None] - unit).argmin(-1)
    np.testing.assert_array_equal(from_unit(near, levels), nearest)
    np.testing.assert_array_equal(
        from_unit(jnp.array([-jnp.inf, -3.0, 3.0, jnp.inf]), levels), [0, 0, levels - 1, levels - 1]
    )


@pytest.mark.parametrize("levels", LEVELS)
def test_dequantise_fills_its_bin_evenly(levels):
    x = np.repeat(np.arange(levels, dtype=np.uint8), 400).reshape(levels, 400)
    y = np.asarray(dequantise(jax.random.key(0), x, levels), np.float64)
    within = (y + 1) * levels / 2 - x  # u, back from the bin
    assert within.min() >= -1e-4
    assert within.max() <= 1 + 1e-4
    standard_error = np.sqrt(1 / 12 / within.size)
    assert abs(within.mean() - 0.5) < 4 * standard_error
    assert abs(within.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / within.size)
    centre = np.asarray(to_unit(np.arange(levels), levels)) * (levels - 1) / levels
    np.testing.assert_allclose(y.mean(axis=1), centre, atol=5 * 2 / levels * np.sqrt(1 / 12 / 400))


def test_round_trip_under_jit():
    x = jnp.arange(16)
    np.testing.assert_array_equal(jax.jit(lambda x: from_unit(to_unit(x, 16), 16))(x), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: to_unit(jnp.zeros(2, jnp.float32), 17), "x must be of an integer type.*got float32"),
        (lambda: dequantise(jax.random.key(0), jnp.zeros(2), 17), "x must be of an integer type"),
        (lambda: to_unit(jnp.zeros(2, int), 1), "levels must be an integer >= 2, got 1"),
        (lambda: from_unit(jnp.zeros(2), 0), "levels must be an integer >= 2, got 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
