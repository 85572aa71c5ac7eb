"""Sequences of events that end before their window."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_like

from experiments.projects.audio.configs import events
from experiments.tasks.sequences import model as sequences
from scorekit import autoregressive as ar


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["", "masked"])
def test_nothing_but_the_end_follows_an_end(argument):
    """Of all sequences of three codes: probabilities sum to 1, and a code after an end has probability 0."""
    config = events.get_config(argument)
    config.network.update(depth=1, width=8, heads=2)
    coding = types.SimpleNamespace(num_codes=3, end=0)
    dataset = types.SimpleNamespace(condition=None, coding=coding, shape=(3,), num_classes=1, positions=None)
    model = sequences.build_model(config, dataset)
    params = random_like(sequences.init_params(model, jax.random.key(0)), 0.5)
    x = np.stack(np.unravel_index(np.arange(27), (3,) * 3), axis=1)
    ended = [np.all(row[np.argmax(row == 0) :] == 0) or not np.any(row == 0) for row in x]
    if model.process is None:
        chain = sequences.conditionals(model, params, np.zeros(27, np.int32))
        p = np.exp(ar.log_prob(chain, x))
        assert p.sum() == pytest.approx(1, abs=1e-5)
        assert p[ended].sum() == pytest.approx(1, abs=1e-5)
        state, rows = chain.init_state(27, 3), []
        for i in range(3):
            row, state = chain.step(state, x[:, i - 1])
            rows.append(row)
        np.testing.assert_allclose(jnp.stack(rows, axis=1), chain.outputs(x), atol=1e-4)
    else:
        mask = model.process.mask
        z = np.array([[mask, 0, mask], [mask, mask, 2], [mask, 0, 1], [0, mask, mask]])
        p = np.exp(sequences.token_denoiser(model, params, np.zeros(4, np.int32))(z, 0.5))
        np.testing.assert_allclose(p[0, 2], [1, 0, 0])
        np.testing.assert_allclose(p[3, 1:], [[1, 0, 0]] * 2)
        np.testing.assert_array_equal(p[[1, 1, 2], [0, 1, 0], 0], 0)
        assert np.all(p[0, 0] > 0)  # before an end there may be anything
        np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-5)
