"""Exponential moving averages against their closed form."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from scorekit.networks import normalise_weights
from scorekit.training import ema_decay, init_ema, init_state, make_train_step, projected, update_ema

UPDATE = jax.jit(update_ema)


def test_update_ema_matches_the_closed_form():
    values = np.random.default_rng(0).normal(size=(40, 3))
    ema = init_ema({"w": jnp.zeros(3)}, (0.5, 0.9))
    for n, value in enumerate(values):
        ema = UPDATE(ema, {"w": jnp.asarray(value, jnp.float32)}, n)
    for decay in (0.5, 0.9):
        d = np.minimum(decay, (1 + np.arange(40)) / (10 + np.arange(40)))
        # value k enters with 1 - d_k and is multiplied by every later decay
        later = np.append(np.cumprod(d[::-1])[::-1][1:], 1.0)
        expected = ((1 - d) * later) @ values
        np.testing.assert_allclose(ema[str(decay)]["w"], expected, rtol=1e-5, atol=1e-6)


def test_averages_of_bfloat16_parameters_are_float32():
    ema = init_ema(jnp.zeros(2, jnp.bfloat16), (0.999,))
    for n in range(1000):
        ema = UPDATE(ema, jnp.ones(2, jnp.bfloat16), n + 10_000)
    assert ema["0.999"].dtype == jnp.float32
    np.testing.assert_allclose(ema["0.999"], 1 - 0.999**1000, rtol=1e-4)


def test_averages_are_copies():
    params = jnp.zeros(3)
    ema = init_ema(params, (0.9, 0.99))
    pointers = {x.unsafe_buffer_pointer() for x in (params, *ema.values())}
    assert len(pointers) == 3


def test_averages_are_of_parameters_that_are_projected_after_each_step():
    start = {"kernel": normalise_weights(jax.random.normal(jax.random.key(0), (4, 3))), "gain": jnp.float32(0.5)}

    def loss(params, batch):
        return jnp.sum(params["gain"] * (batch["x"] @ params["kernel"]) ** 2 - batch["x"][:, :3], axis=1), {}

    optimizer = projected(optax.sgd(0.05), normalise_weights)
    step = make_train_step(lambda key, batch: batch, loss, optimizer)
    gradient = jax.jit(jax.grad(lambda params, batch: jnp.mean(loss(params, batch)[0])))
    state = init_state(jax.random.key(0), jax.tree.map(jnp.copy, start), optimizer, (0.9,))
    params, average = start, start
    for i in range(3):
        batch = {"x": np.random.default_rng(i).normal(size=(8, 4)).astype(np.float32)}
        moved = jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient(params, batch))
        params, d = normalise_weights(moved), ema_decay(0.9, i)
        average = jax.tree.map(lambda e, p, d=d: d * e + (1 - d) * p, average, params)
        state, _ = step(state, batch)
        assert abs(np.sqrt(np.mean(np.square(moved["kernel"]), 0)) - 1).max() > 1e-3  # there is something to project
        np.testing.assert_allclose(np.sqrt(np.mean(np.square(state.params["kernel"]), 0)), 1, atol=2e-4)
        chex.assert_trees_all_close(state.params, params, rtol=1e-4, atol=1e-6)
        chex.assert_trees_all_close(state.ema["0.9"], average, rtol=1e-4, atol=1e-6)
