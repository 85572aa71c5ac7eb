"""Exponential moving averages against their closed form."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.training import ema_decay, init_ema, update_ema

UPDATE = jax.jit(update_ema)


def test_ema_decay_warms_up():
    n = np.array([0, 1, 89, 90, 10_000])
    np.testing.assert_allclose(ema_decay(0.9, n), [1 / 10, 2 / 11, 0.9, 0.9, 0.9], rtol=1e-6)


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
