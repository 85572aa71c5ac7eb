"""Residual quantisation against enumeration of the greedy choice, its gradients, and hierarchies of codes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import Autoencoder, quantise, residual_quantise, sum_of_codes

RNG = np.random.default_rng(0)
CASES = [(1, np.float64), (17, np.float32)]


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """Vectors ``(3, 5, D)`` and three codebooks of six codes; float64 under x64."""
    dimension, dtype = request.param
    with jax.enable_x64(dtype is np.float64):
        x = RNG.normal(size=(3, 5, dimension)).astype(dtype)
        books = (RNG.normal(size=(3, 6, dimension)) / np.array([1, 2, 4])[:, None, None]).astype(dtype)
        yield x, books, 1e-12 if dtype is np.float64 else 1e-5


def enumerated(x, books):
    """The greedy choice for one vector: of all sequences of codes, the one with the smallest errors in turn."""
    partial = lambda codes: np.cumsum([book[k] for book, k in zip(books, codes, strict=True)], axis=0)
    errors = lambda codes: tuple(np.sum((x - partial(codes)) ** 2, axis=-1))
    return min(itertools.product(range(books.shape[1]), repeat=len(books)), key=errors)


def chosen_vectors(books, index):
    return np.stack([book[k] for book, k in zip(books, np.asarray(index), strict=True)])


def test_residual_codes_are_the_greedy_choice_of_an_enumeration(case):
    x, books, rtol = case
    found = jax.jit(residual_quantise)(x, books)
    flat, wide = x.reshape(-1, x.shape[-1]).astype(np.float64), books.astype(np.float64)
    expected = np.array([enumerated(one, wide) for one in flat]).T.reshape(3, 3, 5)
    np.testing.assert_array_equal(found.index, expected)
    vectors = chosen_vectors(books, expected)
    np.testing.assert_allclose(found.values, np.cumsum(vectors, axis=0), rtol=rtol, atol=rtol)
    errors = np.mean((x - found.values) ** 2, axis=-1)
    np.testing.assert_allclose(found.codebook, errors, rtol=1e-3, atol=rtol)
    for count in (1, 2, 3):
        total = sum_of_codes(found.index[:count], books)
        np.testing.assert_allclose(total, vectors[:count].sum(0), rtol=rtol, atol=rtol)
    assert found.values.dtype == found.codebook.dtype == total.dtype == x.dtype


def test_one_level_is_the_quantiser_bit_for_bit(case):
    x, books, _ = case
    weight = RNG.normal(size=x.shape).astype(x.dtype)
    loss = lambda found: jnp.sum(weight * found.values) + jnp.sum(found.codebook) + jnp.sum(found.commitment)
    for one, many in zip(quantise(x, books[0]), residual_quantise(x, books[:1]), strict=True):
        np.testing.assert_array_equal(one, many[0])
    to_x, to_codes = jax.grad(lambda x, codes: loss(quantise(x, codes)), (0, 1))(x, books[0])
    to_rows, to_books = jax.grad(lambda x, books: loss(residual_quantise(x, books)), (0, 1))(x, books[:1])
    np.testing.assert_array_equal(to_x, to_rows)
    np.testing.assert_array_equal(to_codes, to_books[0])


def test_gradients_of_values_and_losses(case):
    x, books, rtol = case
    index, weight = np.asarray(residual_quantise(x, books).index), RNG.normal(size=x.shape).astype(x.dtype)
    left = 2 * (x - np.cumsum(chosen_vectors(books, index), axis=0)) / x.shape[-1]
    for m in range(3):
        to_codes = np.zeros_like(books)
        np.add.at(to_codes[m], index[m], -left[m])
        for name, scale, to_x in (("values", weight, weight), ("codebook", 1, 0 * x), ("commitment", 1, left[m])):
            read = lambda x, books, m=m, name=name, scale=scale: jnp.sum(
                scale * getattr(residual_quantise(x, books), name)[m]
            )
            found = jax.grad(read, argnums=(0, 1))(x, books)
            expected = to_x, to_codes * (name == "codebook")
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=10 * rtol)


def test_vectors_that_are_not_finite_have_no_code_at_any_level():
    x, books = np.array([[0.1, 0.2], [np.nan, 0.0]], np.float32), np.ones((2, 3, 2), np.float32)
    found = residual_quantise(x, books)
    np.testing.assert_array_equal(np.isnan(found.values), [[[False] * 2, [True] * 2]] * 2)
    np.testing.assert_array_equal(found.index[:, 1], 3)
    beyond = jax.jit(sum_of_codes)(jnp.array([[0, 3, -1]]), books)
    np.testing.assert_array_equal(np.isnan(beyond), [[False] * 2, [True] * 2, [True] * 2])


# ---- autoencoders with several levels ----------------------------------------------------------------------------

SMALL = Autoencoder(latent_channels=3, channels=4, multipliers=(1, 2), patch=2, codes=5, levels=(2, 2, 1))
X = RNG.normal(size=(2, 16, 1)).astype(np.float32)
Z = RNG.normal(size=(2, 4, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def params():
    return jax.jit(SMALL.init)(jax.random.key(0, impl="rbg"), X)


def apply(params, *args, method, network=SMALL):
    return jax.jit(lambda params, *args: network.apply(params, *args, method=method))(params, *args)


@pytest.mark.slow
def test_levels_are_decoded_from_their_codes_alone(params):
    levels, books = apply(params, Z, method="code_levels"), params["params"]["codebook"]
    assert [level.index.shape for level in levels] == [(2, 2), (2, 2), (2, 4)]
    assert books.shape == (3, 5, 3)
    for count in (1, 2, 3):
        found = apply(params, [level.index for level in levels[:count]], method="from_codes")
        np.testing.assert_allclose(found, levels[count - 1].values, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(apply(params, Z, method="quantise"), found)
    fine = levels[2].values - levels[1].values
    np.testing.assert_allclose(fine, books[2][levels[2].index], rtol=1e-4, atol=1e-5)


def test_equal_levels_are_residual_quantisation_of_the_latent():
    network = Autoencoder(latent_channels=3, channels=4, codes=5, levels=(1, 1))
    codebook = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    levels = apply({"params": {"codebook": codebook}}, Z, method="code_levels", network=network)
    expected, targets = residual_quantise(Z, codebook), (Z, Z - codebook[0][levels[0].index])
    for m, level in enumerate(levels):
        np.testing.assert_array_equal(level.index, expected.index[m])
        np.testing.assert_allclose(level.values, expected.values[m], rtol=1e-6)
        np.testing.assert_allclose(level.target, targets[m], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_every_parameter_of_a_hierarchy_has_a_gradient(params):
    @jax.jit
    @jax.grad
    def gradient(params):
        levels = SMALL.apply(params, SMALL.apply(params, X, method="encode"), method="code_levels")
        rest = sum(jnp.mean(level.codebook + level.commitment) for level in levels)
        return rest + jnp.mean((SMALL.apply(params, levels[-1].values, method="decode") - X) ** 2)

    assert all(np.any(leaf) for leaf in jax.tree.leaves(jax.device_get(gradient(params))))
