"""Vector quantisation against exhaustive search, the gradients of all its losses, and the revival of dead codes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorekit.networks import code_counts, nearest_code, perplexity, quantise, revival_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 4)).astype(np.float32)
CODES = RNG.normal(size=(7, 4)).astype(np.float32)


def exhaustive_search(x, codes):
    return ((x[..., None, :].astype(np.float64) - codes) ** 2).sum(-1).argmin(-1)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_nearest_code_matches_exhaustive_search(offset):
    """Also where squared norms are a million times the squared distances."""
    index = jax.jit(nearest_code)(X + np.float32(offset), CODES + np.float32(offset))
    np.testing.assert_array_equal(index, exhaustive_search(X + np.float32(offset), CODES + np.float32(offset)))
    assert index.dtype == jnp.int32


def test_nearest_code_returns_the_first_of_equal_codes():
    assert nearest_code(jnp.zeros((1, 2)), jnp.array([[3.0, 0.0], [1.0, 0.0], [1.0, 0.0]])).tolist() == [1]


def test_quantise_returns_codes_and_is_idempotent():
    found = quantise(X, CODES)
    np.testing.assert_allclose(found.values, CODES[exhaustive_search(X, CODES)], rtol=1e-6, atol=1e-6)
    again = quantise(CODES[found.index], CODES)
    np.testing.assert_array_equal(again.index, found.index)
    np.testing.assert_array_equal(again.commitment, 0)


def test_losses_are_the_mean_squared_distance():
    found = quantise(X, CODES)
    distance = ((X - CODES[exhaustive_search(X, CODES)]) ** 2).mean(-1)
    np.testing.assert_allclose(found.codebook, distance, rtol=1e-5)
    np.testing.assert_allclose(found.commitment, distance, rtol=1e-5)


def test_straight_through_gradient_reaches_vectors_and_not_codes():
    weight = RNG.normal(size=X.shape).astype(np.float32)
    read = lambda x, codes: jnp.sum(weight * quantise(x, codes).values)
    to_x, to_codes = jax.grad(read, argnums=(0, 1))(X, CODES)
    np.testing.assert_allclose(to_x, weight, rtol=1e-6)
    np.testing.assert_array_equal(to_codes, 0)


def test_codebook_loss_trains_codes_and_commitment_trains_vectors():
    chosen = exhaustive_search(X, CODES)
    difference = (X - CODES[chosen]) / 2  # the derivative of a mean of four squares
    to_x, to_codes = jax.grad(lambda x, c: quantise(x, c).codebook.sum(), argnums=(0, 1))(X, CODES)
    expected = np.zeros_like(CODES)
    np.add.at(expected, chosen, -difference)
    np.testing.assert_array_equal(to_x, 0)
    np.testing.assert_allclose(to_codes, expected, rtol=1e-5, atol=1e-6)
    to_x, to_codes = jax.grad(lambda x, c: quantise(x, c).commitment.sum(), argnums=(0, 1))(X, CODES)
    np.testing.assert_allclose(to_x, difference, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(to_codes, 0)


def test_codebook_loss_converges_to_the_centroids_of_the_cells():
    """The fixed point of Lloyd's algorithm: each code is the mean of the vectors assigned to it."""
    x = RNG.normal(size=(40, 2)).astype(np.float32)
    codes = jnp.asarray(x[:3])
    step = jax.jit(lambda c: c - 1.0 * jax.grad(lambda c: quantise(x, c).codebook.mean())(c))
    for _ in range(400):
        codes = step(codes)
    index = np.asarray(nearest_code(x, codes))
    for k in range(3):
        np.testing.assert_allclose(codes[k], x[index == k].mean(0), atol=1e-4)


def test_revival_loss_moves_each_unused_code_to_a_vector_of_its_own():
    x = RNG.normal(size=(8, 2)).astype(np.float32)
    codes = np.concatenate([x[:2], np.full((2, 2), 50.0, np.float32)])
    index = jnp.array([0, 1] * 4)
    value, (to_x, to_codes) = jax.value_and_grad(lambda x, c: revival_loss(x, c, index), argnums=(0, 1))(x, codes)
    partners = x[[4, 6]]  # 8 vectors at steps of 8 / 4: codes 2 and 3 have the vectors 4 and 6
    assert value == pytest.approx(((partners - 50.0) ** 2).mean(1).sum() / 4, rel=1e-5)
    np.testing.assert_array_equal(to_x, 0)
    np.testing.assert_array_equal(to_codes[:2], 0)
    np.testing.assert_allclose(to_codes[2:], (50.0 - partners) / 4, rtol=1e-5)
    assert revival_loss(x, codes, jnp.arange(4)) == 0


@pytest.mark.slow
def test_revival_loss_raises_the_perplexity_of_a_badly_initialised_codebook():
    centres = 3 + 2 * RNG.normal(size=(16, 4)).astype(np.float32)

    def batch(i):
        rng = np.random.default_rng((1, i))
        return centres[rng.integers(16, size=256)] + 0.1 * rng.normal(size=(256, 4)).astype(np.float32)

    def trained(weight):
        codes, optimizer = jnp.asarray(np.random.default_rng(2).normal(size=(32, 4)), jnp.float32), optax.adam(3e-2)
        state = optimizer.init(codes)

        @jax.jit
        def step(codes, state, x):
            def loss(codes):
                found = quantise(x, codes)
                return found.codebook.mean() + weight * revival_loss(x, codes, found.index)

            updates, state = optimizer.update(jax.grad(loss)(codes), state)
            return optax.apply_updates(codes, updates), state

        for i in range(600):
            codes, state = step(codes, state, batch(i))
        found = quantise(batch(10_000), codes)
        return float(perplexity(code_counts(found.index, 32))), float(found.codebook.mean())

    (dead, far), (alive, near) = trained(0.0), trained(0.3)
    assert alive > 1.5 * dead
    assert near < far


def test_perplexity_is_the_exponential_of_the_entropy():
    assert perplexity(jnp.array([4, 0, 0])) == pytest.approx(1.0)
    assert perplexity(jnp.full(5, 3)) == pytest.approx(5.0, rel=1e-6)
    share = np.array([0.5, 0.25, 0.25])
    assert perplexity(8 * share) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    np.testing.assert_array_equal(code_counts(jnp.array([[3, 0], [3, 3]]), 5), [1, 0, 0, 3, 0])
