"""Effective sample size, and the two promises of systematic resampling: right on average, and never off by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.samplers import effective_sample_size, systematic_resample

N = 24
RNG = np.random.default_rng(0)
WEIGHTS = {
    "any": RNG.gamma(0.3, size=N),
    "equal": np.ones(N),
    "one": np.eye(N)[5],
    "holes": np.where(np.arange(N) % 3, RNG.uniform(size=N), 0.0),
    "last": np.eye(N)[N - 1],
    "end_is_empty": np.r_[RNG.uniform(size=N - 4), np.zeros(4)],
    "far_apart": np.exp(-np.linspace(0, 80, N)),
}


@jax.jit
def copies(log_weights):
    keys = jax.random.split(jax.random.key(1), 4000)
    draw = lambda key: jnp.bincount(systematic_resample(key, log_weights), length=N)
    return jax.vmap(draw)(keys)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_copies_are_right_on_average_and_never_off_by_one(weights):
    with np.errstate(divide="ignore"):
        counts = np.asarray(copies(jnp.asarray(np.log(weights) + 300.0, jnp.float32)))
    expected = N * weights / weights.sum()
    assert np.all(counts.sum(1) == N)
    assert np.all(counts >= np.floor(expected - 1e-4))
    assert np.all(counts <= np.ceil(expected + 1e-4))
    assert np.all(counts[:, weights == 0] == 0)
    share = expected - np.floor(expected)  # a Bernoulli number of copies above the floor
    np.testing.assert_allclose(counts.mean(0), expected, atol=4.5 * np.sqrt((share * (1 - share)).max() / 4000) + 1e-4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_weights_in_half_precision_are_summed_in_single(dtype):
    equal = jnp.zeros(1000, dtype)
    np.testing.assert_array_equal(systematic_resample(jax.random.key(0), equal), np.arange(1000))
    np.testing.assert_allclose(effective_sample_size(equal), 1000, rtol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_effective_sample_size_against_numpy(weights):
    with np.errstate(divide="ignore"):
        found = effective_sample_size(jnp.asarray(np.log(weights) - 500.0, jnp.float32))
    np.testing.assert_allclose(found, weights.sum() ** 2 / np.sum(weights**2), rtol=1e-3)
