"""Optimisers whose parameters are projected after each update, within the training step and its averages."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from scorekit.networks import normalise_weights
from scorekit.training import ema_decay, init_state, make_train_step, projected

SHAPE = (4, 3)


def toy():
    """A start on the constraint, the training step and the gradient of its loss for one batch."""
    start = {"kernel": normalise_weights(jax.random.normal(jax.random.key(0), SHAPE)), "gain": jnp.float32(0.5)}

    def loss(params, batch):
        return jnp.sum(params["gain"] * (batch["x"] @ params["kernel"]) ** 2 - batch["x"][:, :3], axis=1), {}

    optimizer = projected(optax.sgd(0.05), normalise_weights)
    return start, optimizer, make_train_step(lambda key, batch: batch, loss, optimizer), loss


def test_parameters_satisfy_the_constraint_after_each_step_and_averages_are_of_them():
    start, optimizer, step, loss = toy()
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
