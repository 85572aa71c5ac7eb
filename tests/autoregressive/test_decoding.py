"""Beam search and minimum-Bayes-risk decoding against the enumeration of every sequence."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import autoregressive as ar
from scorekit.networks import CausalTransformer, CausalWaveNet

V, L = 3, 4
EVERY = np.array(list(itertools.product(range(V), repeat=L)))
KEY = jax.random.key(0)


def chain(seed=0, scale=1.5):
    rng = np.random.default_rng(seed)
    return ar.markov_chain(scale * rng.normal(size=V), scale * rng.normal(size=(V, V)))


def network(kind, **sizes):
    """A network with random parameters, and a condition that all beams share."""
    module, rng = kind(outputs=V, num_codes=V, num_classes=2, **sizes), np.random.default_rng(3)
    shapes = jax.eval_shape(module.init, KEY, jnp.zeros((1, L), int))
    params = jax.tree.map(lambda s: jnp.asarray(1.4 * rng.normal(size=s.shape), s.dtype), shapes)
    return ar.model_from_network(module, params, ar.Categorical(num_codes=V), labels=1)


MODELS = {
    "chain": chain,
    "wavenet": lambda: network(CausalWaveNet, channels=4, layers=2, cycle=2),
    "transformer": lambda: network(CausalTransformer, depth=1, width=8, heads=2),
}
beam = jax.jit(ar.beam_search, static_argnums=(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chain", "wavenet", pytest.param("transformer", marks=pytest.mark.slow)])
def test_a_full_beam_is_every_sequence_in_order(name):
    model = MODELS[name]()
    log_p = np.asarray(ar.log_prob(model, jnp.asarray(EVERY)))
    found = beam(model, L, V**L)
    order = np.argsort(-log_p)
    np.testing.assert_allclose(found.log_prob, log_p[order], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.x[:5], EVERY[order[:5]])
    mode = beam(model, L, V ** (L - 1))
    np.testing.assert_array_equal(mode.x[0], EVERY[order[0]])
    narrow = beam(model, L, 2)
    np.testing.assert_allclose(narrow.log_prob, ar.log_prob(model, narrow.x), rtol=1e-4, atol=1e-5)
    assert np.ptp(log_p) > 2


def test_greedy_misses_the_mode_and_wider_beams_find_it():
    """The best first code has no good continuation."""
    log = lambda *rows: jnp.log(jnp.array(rows))
    model = ar.markov_chain(log(0.5, 0.4, 0.1), log([0.34, 0.33, 0.33], [0.02, 0.96, 0.02], [0.1, 0.1, 0.8]))
    greedy, wide = beam(model, L, 1), beam(model, L, 2)
    assert greedy.x[0, 0] == 0
    np.testing.assert_array_equal(wide.x[0], [1] * L)
    assert wide.log_prob[0] > greedy.log_prob[0] + 1


def test_impossible_sequences_come_last():
    model = ar.markov_chain(jnp.array([0.0, -jnp.inf]), jnp.array([[0.0, -jnp.inf], [0.0, 0.0]]))
    found = ar.beam_search(model, 3, 8)
    assert found.x[0].tolist() == [0, 0, 0]
    assert found.log_prob.tolist() == [0.0] + [-np.inf] * 7


def test_the_decision_of_all_sequences_is_exact():
    """Weighted by their probabilities; by the Hamming agreement it is the most probable code of each position."""
    for seed in range(3):
        model = chain(seed)
        log_p = ar.log_prob(model, jnp.asarray(EVERY))
        found = ar.minimum_bayes_risk(EVERY, EVERY, log_weights=log_p)
        p = np.exp(np.asarray(log_p, float))
        agreement = (EVERY[:, None] == EVERY[None]).mean(axis=-1)
        np.testing.assert_allclose(found.expected, agreement @ p, rtol=1e-5)
        marginals = [[p[EVERY[:, i] == v].sum() for v in range(V)] for i in range(L)]
        np.testing.assert_array_equal(found.x, np.argmax(marginals, axis=1))


def test_values_and_what_is_not_finite():
    near = lambda c, x: -jnp.linalg.norm(c[:, None] - x[None], axis=-1)
    x = jax.random.normal(KEY, (200, 2))
    chosen = ar.minimum_bayes_risk(x, x, near)
    assert np.argmin(np.linalg.norm(x[:, None] - x[None], axis=-1).mean(axis=1)) == np.argmax(chosen.expected)
    assert np.isnan(jax.jit(lambda c: ar.minimum_bayes_risk(c, x, near).x)(x.at[0].set(jnp.nan))).all()
    bad = jax.jit(lambda c: ar.minimum_bayes_risk(c, c, lambda c, x: jnp.full((len(c), len(x)), jnp.nan)).x)
    assert bad(EVERY).tolist() == [-1] * L
    weights = np.array([0.9, 0.0, 0.9], np.float32)
    counted, exact = np.array([[0, 3, 0], [2, 0, 2], [0, 0, 0]]), np.exp(weights) / np.exp(weights).sum()
    for table in (counted, counted > 0, counted.astype(np.float16)):
        decision = ar.minimum_bayes_risk(EVERY[:3], EVERY[:3], lambda c, x, u=table: u, log_weights=weights)
        np.testing.assert_allclose(decision.expected, table @ exact, rtol=1e-3)
