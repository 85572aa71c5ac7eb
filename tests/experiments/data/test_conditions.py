"""Conditions computed from an example."""

import jax.numpy as jnp
import numpy as np
from programs import changed, error_of

from experiments import data
from experiments.configs.images import smoke
from experiments.data import conditions
from experiments.data.dataset import moments
from experiments.data.images import average_pool
from experiments.data.notes import pitch_velocity


def test_conditions_of_an_example_against_numpy():
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 2)).astype(np.float32)
    pooled = np.array(
        [[[x[b, i : i + 2, j : j + 2].mean((0, 1)) for j in (0, 2, 4)] for i in (0, 2)] for b in range(3)]
    )
    np.testing.assert_allclose(average_pool(2)({"x": jnp.asarray(x)}), pooled, rtol=1e-5, atol=1e-6)
    expected = np.stack([x.reshape(3, -1).mean(1), x.reshape(3, -1).std(1)], 1)
    np.testing.assert_allclose(moments()({"x": jnp.asarray(x)}), expected, rtol=1e-5, atol=1e-6)
    dataset = data.build(smoke.get_config())
    extracts = {"dense_map": average_pool(2), "vector": moments()}
    assert conditions.sizes(extracts, dataset) == {"map_shape": (4, 4, 1), "vector_size": 2, "token_size": None}
    assert conditions.sizes({}, dataset) == {"map_shape": None, "vector_size": None, "token_size": None}
    for extracts, words in (
        ({"dense_map": average_pool(3)}, "multiples of factor = 3, got (8, 8)"),
        ({"vector": pitch_velocity()}, "sklearn_digits has no field 'pitch'"),
    ):
        message = error_of(conditions.sizes, extracts, dataset)
        assert message.startswith(f"config.conditions.{'map' if 'dense_map' in extracts else 'vector'}: ")
        assert words in message
    config = changed(smoke, "conditions.map.name=log_mel")
    words = "config.conditions.map.name=log_mel: must be one of none, average_pool"
    assert words in error_of(data.build, config)
