"""Vector quantisation against exhaustive search, the gradients of all its losses, and the revival of dead codes."""

import jax
import jax.numpy as jnp
import numpy as np
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


def test_losses_are_the_mean_squared_distance():
    found = quantise(X, CODES)
    distance = ((X - CODES[exhaustive_search(X, CODES)]) ** 2).mean(-1)
    np.testing.assert_allclose(found.codebook, distance, rtol=1e-5)
    np.testing.assert_allclose(found.commitment, distance, rtol=1e-5)


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


def test_perplexity_is_the_exponential_of_the_entropy():
    assert perplexity(jnp.array([4, 0, 0])) == pytest.approx(1.0)
    assert perplexity(jnp.full(5, 3)) == pytest.approx(5.0, rel=1e-6)
    share = np.array([0.5, 0.25, 0.25])
    assert perplexity(8 * share) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    np.testing.assert_array_equal(code_counts(jnp.array([[3, 0], [3, 3]]), 5), [1, 0, 0, 3, 0])
