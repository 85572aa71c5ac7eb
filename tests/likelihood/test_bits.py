"""Bits per dimension: the offset, the names, and a dequantiser for which the bound is tight."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import data
from scorekit.likelihood import bits_per_dim, dequantised_bits_per_dim

LEVELS, DIM = 4, 3
X = np.random.default_rng(0).integers(0, LEVELS, (50, DIM))


def ramp(key, z):
    """The density ``(1 + z) / 2`` of each value on [-1, 1]."""
    del key
    return jnp.sum(jnp.log((1 + z) / 2), axis=1)


def exact_bits(x):
    """``P(x) = F(2 (x + 1) / bins - 1) - F(2 x / bins - 1)`` with ``F(z) = (1 + z)^2 / 4``."""
    edge = np.arange(LEVELS + 1) / LEVELS
    return -np.log2(np.diff(edge**2))[x].mean(1)


def posterior(key, x):
    """Draws u from the ramp within the bin of x, by its inverse distribution function."""
    low, high = x / LEVELS, (x + 1) / LEVELS  # where (1 + z) / 2 lies
    place = jnp.sqrt(low**2 + jax.random.uniform(key, x.shape) * (high**2 - low**2))
    log_q = jnp.sum(jnp.log(2 * place / LEVELS / (high**2 - low**2)), axis=1)
    return place * LEVELS - x, log_q


@pytest.mark.slow
def test_the_optimal_dequantiser_gives_the_exact_probability():
    """Every draw then has the value ``-log2 P(x) / D``."""
    found = dequantised_bits_per_dim(jax.random.key(0), ramp, jnp.asarray(X), LEVELS, posterior)
    np.testing.assert_allclose(found.bits_per_dim, exact_bits(X), rtol=1e-5)
    assert found.dequantisation == "variational"
    assert float(found.offset) == math.log2(LEVELS / 2)


@pytest.mark.slow
def test_uniform_dequantisation_costs_more_on_average():
    keys = jax.random.split(jax.random.key(1), 4000)
    each = jax.jit(jax.vmap(lambda k: dequantised_bits_per_dim(k, ramp, jnp.asarray(X), LEVELS).bits_per_dim))(keys)
    excess = np.asarray(each).mean(0) - exact_bits(X)
    edge = np.arange(LEVELS + 1) / LEVELS  # E log2 of the density under uniform u, by quadrature
    grid = edge[:-1, None] + (np.arange(20000) + 0.5) / 20000 / LEVELS
    mean_bits = -np.log2(grid).mean(1) + math.log2(LEVELS / 2)
    np.testing.assert_allclose(excess, mean_bits[X].mean(1) - exact_bits(X), atol=0.03)
    assert (excess > -0.01).all()


@pytest.mark.parametrize("bins", [2, 17, 256])
def test_bits_per_dim_of_a_uniform_source_is_log2_bins(bins):
    result = bits_per_dim(jnp.full(3, -5 * np.log(2.0)), 5, bins=bins, dequantisation="uniform")
    np.testing.assert_allclose(result.bits_per_dim, np.full(3, np.log2(bins)), rtol=1e-6)
    np.testing.assert_allclose(result.offset, np.log2(bins / 2), rtol=1e-6)
    assert result.dequantisation == "uniform"


def test_bits_per_dim_of_a_histogram_density_is_the_entropy_of_the_integers():
    p = np.array([0.5, 0.25, 0.125, 0.125])  # entropy 1.75 bits
    x = np.random.default_rng(0).choice(4, (6, 8), p=p)
    y = np.asarray(data.dequantise(jax.random.key(1), x, 4))
    density = p[np.clip(((y + 1) * 2).astype(int), 0, 3)] / 0.5  # constant on bins of width 2 / 4
    result = bits_per_dim(np.log(density).sum(axis=1), 8, bins=4, dequantisation="uniform")
    np.testing.assert_allclose(result.bits_per_dim, -np.log2(p[x]).mean(axis=1), rtol=1e-5)


def test_no_dequantisation_has_no_offset_and_results_cross_jit_and_vmap():
    found = bits_per_dim(jnp.array(-DIM * math.log(8.0)), DIM)
    assert float(found.bits_per_dim) == pytest.approx(3.0)
    assert (float(found.offset), found.dequantisation) == (0.0, "none")
    uniform = lambda log_p: bits_per_dim(log_p, 3, bins=16, dequantisation="uniform")
    result = jax.jit(jax.vmap(uniform))(jnp.zeros(2))
    np.testing.assert_allclose(result.bits_per_dim, [3.0, 3.0])
    assert result.dequantisation == "uniform"


def test_trees_and_jit():
    tree = {"a": jnp.asarray(X[:, :1]), "b": jnp.asarray(X[:, 1:])}
    density = lambda key, z: ramp(key, jnp.concatenate([z["a"], z["b"]], axis=1))

    drawn = lambda key, x: ({name: posterior(key, x[name])[0] for name in x}, jnp.zeros(50))
    run = jax.jit(lambda key: [dequantised_bits_per_dim(key, density, tree, LEVELS, *d) for d in ((), (drawn,))])
    uniform, variational = run(jax.random.key(0))
    assert uniform.bits_per_dim.shape == variational.bits_per_dim.shape == (50,)
    assert (uniform.dequantisation, variational.dequantisation) == ("uniform", "variational")


@pytest.mark.parametrize(("dtype", "bins"), [(np.uint8, 256), (np.int8, 128), (np.uint16, 65536)])
def test_small_integers_count_all_bins_when_compiled(dtype, bins):
    bits = lambda x: dequantised_bits_per_dim(jax.random.key(0), lambda key, z: jnp.zeros(1), x, bins).bits_per_dim
    x = np.array([[0, bins - 1]], dtype)
    assert jax.jit(bits)(x).tolist() == bits(x).tolist() == [math.log2(bins) - 1]
