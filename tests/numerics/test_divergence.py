"""The trace with shared directions, and Hutch++ against known Jacobians and the exact trace."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import low_rank_mixture
from tables import in_float64

from scorekit import denoisers, schedules
from scorekit.likelihood import log_likelihood
from scorekit.numerics.divergence import draw_probes, with_divergence, with_hutch_plus_plus


def test_the_trace_by_example_is_that_of_the_batch():
    """With directions that all examples share, also in trees and in chunks that 5 values do not fill."""
    matrix = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)

    def function(y):
        both = jnp.sin(jnp.concatenate([y["a"], y["b"]], axis=1) @ matrix)
        return {"a": both[:, :2], "b": both[:, 2:]}

    y = {"a": np.ones((3, 2), np.float32), "b": np.arange(9, dtype=np.float32).reshape(3, 3)}
    run = jax.jit(lambda y: [with_divergence(function, y, None, 2, single) for single in (False, True)])
    chex.assert_trees_all_close(*run(y), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_hutch_plus_plus_of_a_known_jacobian():
    """Unbiased; without variance for a multiple of the identity and where the basis spans everything."""
    rng = np.random.default_rng(0)
    spike, rest = rng.normal(size=(6, 2)), 0.1 * rng.normal(size=(6, 6))
    y = {"a": np.zeros((2, 2), np.float32), "b": np.zeros((2, 4), np.float32)}

    @functools.partial(jax.jit, static_argnums=2)
    def run(key, matrix, n):
        def function(y):
            both = jnp.concatenate([y["a"], y["b"]], axis=1) @ matrix.T
            return {"a": both[:, :2], "b": both[:, 2:]}

        draw = lambda key: with_hutch_plus_plus(function, y, draw_probes(key, "hutch++", y, 2 * n), 4)[1]
        return jax.vmap(draw)(jax.random.split(key, 1000)).reshape(-1, n)

    key = jax.random.key(0)
    for matrix, n in ((3.0 * np.eye(6), 1), (spike @ spike.T + rest, 6)):
        np.testing.assert_allclose(run(key, matrix, n), np.trace(matrix), rtol=1e-4)
    matrix = 2.0 * np.eye(6) + spike @ spike.T + rest
    found = run(key, matrix, 2)
    means = found.mean(1)
    assert abs(means.mean() - np.trace(matrix)) < 4 * means.std() / len(means) ** 0.5
    symmetric = matrix + matrix.T
    np.fill_diagonal(symmetric, 0.0)
    by_hutchinson = np.sum(symmetric**2) / 2 / 6  # the variance of the mean of 6 Rademacher probes
    assert means.var() < 0.2 * by_hutchinson


@pytest.mark.slow
def test_hutch_plus_plus_has_less_error_than_hutchinson_and_says_how_much():
    """24 tangents for 64 values in three modes of four wide directions; the exact trace is the reference."""

    @functools.partial(jax.jit, static_argnums=1)
    def run(keys, name):
        data, schedule = low_rank_mixture(0.5), schedules.Cosine()
        x, denoiser = data.sample(jax.random.key(0), (8,)), denoisers.exact_denoiser(data, schedule)
        given = {"divergence": name, "num_probes": 24, "ts": np.linspace(1.0, 0.0, 25)}
        found = jax.vmap(lambda key: log_likelihood(denoiser, schedule, x, key=key, **given))(keys)
        return found.log_p, found.standard_error

    keys = jax.random.split(jax.random.key(1), 16)
    exactly = run(keys[:1], "exact")[0]
    error, reported = {}, {}
    for name in ("rademacher", "hutch++"):
        log_p, standard_error = jax.device_get(run(keys, name))
        error[name] = np.square(log_p - exactly).mean() ** 0.5
        reported[name] = np.square(standard_error).mean() ** 0.5
        assert reported[name] == pytest.approx(error[name], rel=0.25)
    assert error["hutch++"] < 0.4 * error["rademacher"]


@pytest.mark.slow
@in_float64
def test_gradients_of_hutch_plus_plus_are_those_of_the_trace_where_it_is_exact():
    matrix, y = np.random.default_rng(0).normal(size=(3, 3)), np.ones((2, 3))
    probes = draw_probes(jax.random.key(0), "hutch++", y, 6)
    trace = lambda y: with_hutch_plus_plus(lambda y: jnp.sin(y @ matrix), y, probes, 8)[1].mean(1).sum()
    exact = lambda y: jnp.sum(jnp.cos(y @ matrix) * np.diag(matrix))
    np.testing.assert_allclose(jax.grad(trace)(y), jax.grad(exact)(y), rtol=1e-8)
