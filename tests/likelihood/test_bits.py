"""Bits per dimension: the offset, the names, and a dequantiser for which the bound is tight."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.data import quantisation
from scorekit.likelihood import bits_per_dim, dequantised_bits_per_dim

LEVELS, DIM = 4, 3
X = np.random.default_rng(0).integers(0, LEVELS, (50, DIM))


def ramp(key, z):
    """The density ``(1 + z) / 2`` of each value on [-1, 1]."""
    del key
    return jnp.sum(jnp.log((1 + z) / 2), axis=1)


def exact_bits(x):
    """``P(x) = F(2 (x + 1) / levels - 1) - F(2 x / levels - 1)`` with ``F(z) = (1 + z)^2 / 4``."""
    edge = np.arange(LEVELS + 1) / LEVELS
    return -np.log2(np.diff(edge**2))[x].mean(1)


def posterior(key, x):
    """Draws u from the ramp within the bin of x, by its inverse distribution function."""
    low, high = x / LEVELS, (x + 1) / LEVELS  # where (1 + z) / 2 lies
    place = jnp.sqrt(low**2 + jax.random.uniform(key, x.shape) * (high**2 - low**2))
    log_q = jnp.sum(jnp.log(2 * place / LEVELS / (high**2 - low**2)), axis=1)
    return place * LEVELS - x, log_q


def test_the_best_dequantiser_gives_the_probability_itself():
    """Every draw then has the value ``-log2 P(x) / D``."""
    found = dequantised_bits_per_dim(jax.random.key(0), ramp, jnp.asarray(X), LEVELS, posterior)
    np.testing.assert_allclose(found.bits_per_dim, exact_bits(X), rtol=1e-5)
    assert found.dequantisation == "variational"
    assert float(found.offset) == math.log2(LEVELS / 2)


def test_uniform_dequantisation_costs_more_on_average():
    keys = jax.random.split(jax.random.key(1), 4000)
    each = jax.jit(jax.vmap(lambda k: dequantised_bits_per_dim(k, ramp, jnp.asarray(X), LEVELS).bits_per_dim))(keys)
    excess = np.asarray(each).mean(0) - exact_bits(X)
    edge = np.arange(LEVELS + 1) / LEVELS  # E log2 of the density under uniform u, by quadrature
    grid = edge[:-1, None] + (np.arange(20000) + 0.5) / 20000 / LEVELS
    mean_bits = -np.log2(grid).mean(1) + math.log2(LEVELS / 2)
    np.testing.assert_allclose(excess, mean_bits[X].mean(1) - exact_bits(X), atol=0.03)
    assert (excess > -0.01).all()


def test_uniform_is_that_of_the_data_floor():
    log_p = jnp.array([-3.0, 2.0])
    ours = bits_per_dim(log_p, DIM, levels=LEVELS, dequantisation="uniform")
    theirs = quantisation.bits_per_dim(log_p, DIM, LEVELS)
    np.testing.assert_allclose(ours.bits_per_dim, theirs.bits_per_dim)
    assert (float(ours.offset), ours.dequantisation) == (float(theirs.offset), theirs.dequantisation)


def test_no_dequantisation_has_no_offset():
    found = bits_per_dim(jnp.array(-DIM * math.log(8.0)), DIM)
    assert float(found.bits_per_dim) == pytest.approx(3.0)
    assert (float(found.offset), found.dequantisation) == (0.0, "none")


def test_trees_and_jit():
    tree = {"a": jnp.asarray(X[:, :1]), "b": jnp.asarray(X[:, 1:])}
    density = lambda key, z: ramp(key, jnp.concatenate([z["a"], z["b"]], axis=1))

    @jax.jit
    def run(key):
        drawn = lambda key, x: jax.tree.map(
            lambda u: u, ({"a": posterior(key, x["a"])[0], "b": posterior(key, x["b"])[0]}, jnp.zeros(50))
        )
        return dequantised_bits_per_dim(key, density, tree, LEVELS), dequantised_bits_per_dim(
            key, density, tree, LEVELS, drawn
        )

    uniform, variational = run(jax.random.key(0))
    assert uniform.bits_per_dim.shape == variational.bits_per_dim.shape == (50,)
    assert (uniform.dequantisation, variational.dequantisation) == ("uniform", "variational")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"dequantisation": "flow"}, "dequantisation must be 'none', 'uniform' or 'variational', got 'flow'"),
        ({"event_size": 0}, "event_size must be an integer >= 1, got 0"),
        ({"levels": 256}, "levels must be None without dequantisation, got 256"),
        ({"dequantisation": "uniform"}, "levels must be an integer >= 2 with uniform dequantisation, got None"),
        ({"dequantisation": "variational", "levels": 1}, "levels must be an integer >= 2"),
    ],
)
def test_refusals(kwargs, message):
    with pytest.raises(ValueError, match=message):
        bits_per_dim(jnp.zeros(2), **{"event_size": 3, **kwargs})


def test_refusals_of_data():
    with pytest.raises(ValueError, match="x must be of an integer type"):
        dequantised_bits_per_dim(jax.random.key(0), ramp, jnp.zeros((2, 3)), 4)
    with pytest.raises(ValueError, match="levels must be an integer >= 2, got 1"):
        dequantised_bits_per_dim(jax.random.key(0), ramp, jnp.zeros((2, 3), int), 1)
