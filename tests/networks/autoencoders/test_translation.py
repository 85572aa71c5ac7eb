"""The network of translation: each example is decoded by its own domain, and the encoder confuses the classifier."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import networks

NETWORK = networks.TranslationNetwork(domains=3, data_channels=5, channels=8, latent_channels=2, blocks=2)
X = np.random.default_rng(0).normal(size=(4, 7, 5)).astype(np.float32)
DOMAIN = np.array([0, 2, 2, 0])


@pytest.fixture(scope="module")
def params():
    variables = jax.jit(NETWORK.init)(jax.random.key(0), X, DOMAIN)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32), variables)


@pytest.mark.slow
def test_each_example_has_the_decoder_of_its_domain(params):
    decoders = params["params"]["decoders"]
    z = NETWORK.apply(params, X, method="encode")
    together = NETWORK.apply(params, z, DOMAIN, method="decode")

    def one(z, k):
        """The decoder written out."""
        layer = lambda name, h: h @ decoders[name]["kernel"][k] + decoders[name]["bias"][k]
        norm = lambda name, h: nn_norm(h) * decoders[name]["scale"][k] + decoders[name]["bias"][k]
        h = layer("input", around(z, 1))
        for i in range(2):
            h = h + layer(f"block_{i}", around(np.asarray(jax.nn.gelu(norm(f"norm_{i}", h))), 2**i))
        return layer("output", jax.nn.gelu(norm("norm", h)))

    for i, k in enumerate(DOMAIN):
        np.testing.assert_allclose(together[i], one(np.asarray(z[i]), k), rtol=2e-4, atol=2e-4)
    slopes = jax.grad(lambda p: jnp.sum(NETWORK.apply(p, z, DOMAIN, method="decode") ** 2))(params)
    for leaf in jax.tree.leaves(slopes["params"]["decoders"]):
        assert np.any(leaf[0])
        assert not np.any(leaf[1])  # no example is of domain 1


def nn_norm(h):
    centred = h - h.mean(-1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-6)


def around(h, distance):
    padded = np.pad(h, [(distance, distance), (0, 0)])
    return np.concatenate([padded[i * distance : i * distance + len(h)] for i in range(3)], axis=-1)


@pytest.mark.slow
def test_the_encoder_increases_what_the_classifier_decreases(params):
    """The gradient through the network is that of the classifier, and ``-confusion`` times that of the encoder."""

    def entropy(logits):
        return -jnp.sum(jax.nn.log_softmax(logits)[jnp.arange(4), DOMAIN])

    through = jax.grad(lambda p: entropy(NETWORK.apply(p, X, DOMAIN, 0.25)[1]))(params)["params"]
    plainly = lambda p: entropy(NETWORK.apply(p, NETWORK.apply(p, X, method="encode"), method="classify"))
    plain = jax.grad(plainly)(params)["params"]
    chex.assert_trees_all_close(through["classifier"], plain["classifier"], atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, -0.25 * b, atol=1e-5), through["encoder"], plain["encoder"])
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(plain["encoder"])) > 1e-2


def test_a_reversed_gradient_leaves_values_and_dtypes_alone():
    x = jnp.array([jnp.inf, 1.0], jnp.bfloat16)
    y, pull = jax.vjp(lambda x: networks.reverse_gradient(x, jnp.float32(0.5)), x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(pull(jnp.ones_like(x))[0], [-0.5, -0.5])
