"""Encoders of an MLP's conditions: sets without order, masks, and sequences with order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import MLP, Masked

B, T, C = 4, 6, 2
KEYS = jax.random.split(jax.random.key(0), 4)
X, VALUE = jax.random.normal(KEYS[0], (B, 3)), jax.random.normal(KEYS[1], (B, T, C))
PRESENT = np.arange(T) < np.array([6, 4, 1, 0])[:, None]


def made(**sizes):
    """An MLP with random parameters, the output layer included."""
    network = MLP(features=16, blocks=1, encoder_blocks=2, **sizes)
    params = network.init(KEYS[2], X, 0.0)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(KEYS[3], len(leaves))
    drawn = [0.3 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.jit(lambda **given: network.apply(jax.tree.unflatten(tree, drawn), X, 0.0, **given))


@pytest.mark.slow
def test_a_set_has_no_order_and_its_padding_is_not_seen():
    apply = made(token_size=C, scales=2)
    found = apply(tokens=Masked(VALUE, PRESENT))
    order = np.array([3, 1, 0, 2, 5, 4])
    shuffled = apply(tokens=Masked(VALUE[:, order], PRESENT[:, order]))
    np.testing.assert_allclose(found, shuffled, atol=2e-5)
    padded = apply(tokens=Masked(jnp.where(PRESENT[..., None], VALUE, 1e3), PRESENT))
    np.testing.assert_allclose(found, padded, atol=1e-6)
    np.testing.assert_allclose(apply()[3], found[3], atol=1e-6)  # the empty set is the null token
    assert not np.allclose(apply()[0], found[0], atol=1e-3)


@pytest.mark.slow
def test_a_set_is_known_by_its_size_and_by_each_element():
    apply = made(token_size=C)
    twice = jnp.concatenate([VALUE, VALUE], axis=1)
    once = apply(tokens=Masked(VALUE, jnp.ones((B, T), bool)))
    assert np.abs(apply(tokens=Masked(twice, jnp.ones((B, 2 * T), bool))) - once).max() > 1e-3
    other = apply(tokens=Masked(VALUE.at[:, 2, 1].add(1.0), jnp.ones((B, T), bool)))
    assert np.abs(other - once).min() > 1e-6


@pytest.mark.slow
def test_a_sequence_has_an_order():
    apply = made(map_shape=(T, C))
    assert np.abs(apply(dense_map=VALUE) - apply(dense_map=VALUE[:, ::-1])).max() > 1e-3


@pytest.mark.slow
def test_conditions_add_and_absent_ones_are_null_tokens():
    apply = made(vector_size=3, token_size=C)
    both = apply(vector=X, tokens=VALUE)
    assert np.abs(both - apply(vector=X)).max() > 1e-3
    assert np.abs(both - apply(tokens=VALUE)).max() > 1e-3
    absent = apply(vector=Masked(X, jnp.zeros(B, bool)), tokens=VALUE)
    np.testing.assert_allclose(absent, apply(tokens=VALUE), atol=1e-6)
