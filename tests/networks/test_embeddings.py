"""Fourier features and the embedding of noise level, class and vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import Conditioning, fourier_features

KEY = jax.random.key(0, impl="rbg")
CLASSES = 3


def test_fourier_features_are_sines_and_cosines_at_geometric_frequencies():
    c = np.array([-5.0, 0.0, 1.5])
    w = 0.25 * (32 / 0.25) ** (np.arange(8) / 7)
    expected = np.concatenate([np.sin(c[:, None] * w), np.cos(c[:, None] * w)], -1)
    np.testing.assert_allclose(fourier_features(c, 16), expected, atol=1e-4)
    with pytest.raises(ValueError, match="features must be even and at least 4, got 5"):
        fourier_features(c, 5)


@pytest.mark.slow
def test_label_embeddings_have_unit_variance_at_initialisation():
    table = Conditioning(256, 100).init(KEY, 0.0, None, 2)["params"]["labels"]["embedding"]
    np.testing.assert_allclose([table.mean(), table.std()], [0, 1], atol=0.02)


def test_hidden_layers_follow_the_sum_of_embeddings():
    network = Conditioning(8, CLASSES, layers=2)
    labels = jnp.array([0, 3])
    params = network.init(KEY, 0.5, labels, 2)["params"]
    h = Conditioning(8, CLASSES).apply({"params": params}, 0.5, labels, 2)
    for i in range(2):
        layer = params[f"hidden_{i}"]
        h = jax.nn.silu(h @ layer["kernel"] + layer["bias"])
    np.testing.assert_allclose(network.apply({"params": params}, 0.5, labels, 2), h, rtol=1e-5, atol=1e-6)
