"""Pixels to floats and back, dequantisation, and the offset of bits/dim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.data import bits_per_dim, dequantise, from_unit, to_unit

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


@pytest.mark.parametrize("levels", LEVELS)
def test_bits_per_dim_of_a_uniform_source_is_log2_levels(levels):
    result = bits_per_dim(jnp.full(3, -5 * np.log(2.0)), 5, levels)
    np.testing.assert_allclose(result.bits_per_dim, np.full(3, np.log2(levels)), rtol=1e-6)
    np.testing.assert_allclose(result.offset, np.log2(levels / 2), rtol=1e-6)
    assert result.dequantisation == "uniform"


def test_bits_per_dim_of_a_histogram_density_is_the_entropy_of_the_integers():
    p = np.array([0.5, 0.25, 0.125, 0.125])  # entropy 1.75 bits
    x = np.random.default_rng(0).choice(4, (6, 8), p=p)
    y = np.asarray(dequantise(jax.random.key(1), x, 4))
    density = p[np.clip(((y + 1) * 2).astype(int), 0, 3)] / 0.5  # constant on bins of width 2 / 4
    result = bits_per_dim(np.log(density).sum(axis=1), 8, 4)
    np.testing.assert_allclose(result.bits_per_dim, -np.log2(p[x]).mean(axis=1), rtol=1e-5)


def test_under_jit_and_vmap_the_result_may_be_returned():
    result = jax.jit(jax.vmap(lambda log_prob: bits_per_dim(log_prob, 3, 16)))(jnp.zeros(2))
    np.testing.assert_allclose(result.bits_per_dim, [3.0, 3.0])
    assert result.dequantisation == "uniform"
    x = jnp.arange(16)
    np.testing.assert_array_equal(jax.jit(lambda x: from_unit(to_unit(x, 16), 16))(x), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: to_unit(jnp.zeros(2, jnp.float32), 17), "x must be of an integer type.*got float32"),
        (lambda: dequantise(jax.random.key(0), jnp.zeros(2), 17), "x must be of an integer type"),
        (lambda: to_unit(jnp.zeros(2, int), 1), "levels must be an integer >= 2, got 1"),
        (lambda: from_unit(jnp.zeros(2), 0), "levels must be an integer >= 2, got 0"),
        (lambda: bits_per_dim(jnp.zeros(2), 0, 17), "event_size must be .*got 0"),
        (lambda: bits_per_dim(jnp.zeros(2), 4, 1), "levels must be an integer >= 2, got 1"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
