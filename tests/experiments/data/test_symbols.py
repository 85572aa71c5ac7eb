"""Examples as sequences of codes: the codes are those of the data, in an order that decoding undoes."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.images import Images
from experiments.data.symbols import Symbols, codes, mu_law, pixels, planes, raster, subscale
from scorekit.guidance.sequences import conditional_log_probs
from scorekit.networks import nearest_code


@pytest.fixture(scope="module")
def digits():
    return Images(image_size=4, train_split="train[:20]", test_split="test[:20]")


SOUNDS = np.array([[0, 3000, -3000, 9000, 0, 1, 2, 3], [1] * 8], np.int16)


TONE = types.SimpleNamespace(name="tone", sample_rate=8, test={"x": SOUNDS}, at_peak=lambda sound: sound)
"""Two sounds of 8 samples."""


def test_the_subscale_order_is_one_interleaved_copy_after_the_other():
    image = np.arange(16).reshape(4, 4)
    order = subscale((4, 4), slices=2)
    expected = [image[a::2, b::2] for a, b in ((0, 0), (0, 1), (1, 0), (1, 1))]
    np.testing.assert_array_equal(image.ravel()[order].reshape(4, 2, 2), expected)
    np.testing.assert_array_equal(subscale((4, 4), slices=1), raster((4, 4)))
    one = subscale((4, 4, 1))
    np.testing.assert_array_equal(subscale((2, 4, 4, 1)), np.concatenate([one, 16 + one]))  # one plane after the other


@pytest.mark.parametrize("order", [raster, subscale])
def test_sequences_of_all_pixels_are_decoded_to_the_data(digits, order):
    dataset = Symbols(digits, pixels(digits), order(digits.shape))
    assert (dataset.shape, dataset.bins, dataset.test["x"].dtype) == ((16,), 17, np.int32)
    np.testing.assert_allclose(dataset.from_model(jnp.asarray(dataset.test["x"])), digits.real(digits.test), atol=1e-6)
    first = np.asarray(digits.test["x"][0]).ravel()
    np.testing.assert_array_equal(dataset.test["x"][0], first[order(digits.shape)])
    positions = dataset.positions
    assert positions.shape == (16, 4 + 4 + 1)
    row, column = positions[:, :4].argmax(1), positions[:, 4:8].argmax(1)
    np.testing.assert_array_equal(4 * row + column, order(digits.shape))


@pytest.mark.parametrize("order", [raster, subscale])
@pytest.mark.parametrize(("base", "num_codes"), [(None, 5), (2, 9), (9, 9), (16, 16)])
def test_planes_hold_all_coarse_parts_then_all_fine_ones_and_are_decoded_to_the_data(digits, order, base, num_codes):
    coding = planes(digits, base)
    dataset = Symbols(digits, coding, order(coding.grid))
    assert (coding.num_codes, dataset.shape) == (num_codes, (32,))
    x, values = dataset.test["x"], np.asarray(digits.test["x"]).reshape(-1, 16)[:, order(digits.shape)]
    np.testing.assert_array_equal(x[:, :16], values // (base or 5))
    np.testing.assert_array_equal(x[:, 16:], values % (base or 5))
    np.testing.assert_allclose(dataset.from_model(jnp.asarray(x)), digits.real(digits.test), atol=1e-6)
    assert dataset.positions.shape == (32, 2 + 4 + 4 + 1)
    np.testing.assert_array_equal(dataset.positions[:, :2].argmax(1), np.repeat([0, 1], 16))
    if base is None:  # a pair of no value is decoded to the largest
        np.testing.assert_allclose(coding.decode(jnp.full((1, *coding.grid), 4)), 1.0)


def test_the_log_probability_of_a_chain_of_values_is_that_of_its_planes():
    """Counted over all pairs of values: conditionals of the parts, in order of the planes, multiply to the joint."""

    coding = planes(types.SimpleNamespace(name="two", bins=6, shape=(2, 1, 1)), 4)
    p = np.random.default_rng(0).dirichlet(np.ones(36)).reshape(6, 6)
    values = np.stack(np.unravel_index(np.arange(36), (6, 6)), axis=1)
    parts = np.asarray(coding.encode(values.reshape(36, 2, 1, 1))).reshape(36, 4)
    table = np.zeros((4,) * 4)
    table[tuple(parts.T)] = p.ravel()
    assert (table > 0).sum() == 36  # no two pairs of values have the same parts
    conditionals = conditional_log_probs(jnp.log(jnp.asarray(table)))
    total = sum(np.asarray(c)[tuple(parts[:, : k + 1].T)] for k, c in enumerate(conditionals))
    np.testing.assert_allclose(total, np.log(p.ravel()), rtol=1e-5)


def test_batches_are_those_of_the_data_as_codes_without_encoding_the_training_set(digits):
    dataset = Symbols(digits, pixels(digits, levels=2), raster(digits.shape))
    batch, inner = dataset.batch(3, 4, 5), digits.batch(3, 4, 5)
    np.testing.assert_array_equal(batch["x"].reshape(inner["x"].shape), inner["x"] >= 9)  # of 0 to 16
    np.testing.assert_array_equal(batch["label"], inner["label"])
    batches = dataset.batches(3, 4, 6, process_index=1, process_count=2)
    np.testing.assert_array_equal(next(batches)["x"], dataset.batch(3, 4, 6)["x"][3:])
    assert not {"train", "test"} & vars(dataset).keys()
    np.testing.assert_array_equal(dataset.train["x"].reshape(digits.train["x"].shape), digits.train["x"] >= 9)


def test_mu_law_codes_are_decoded_to_sounds():
    coding = mu_law(TONE, codes=256)
    assert (coding.grid, coding.exact) == ((8,), False)
    np.testing.assert_allclose(coding.decode(coding.encode(jnp.asarray(SOUNDS))), SOUNDS / 2**15, atol=1e-2)
    assert mu_law(TONE, factor=4).encode(SOUNDS).shape == (2, 2)
    assert mu_law(TONE, factor=4).decode(jnp.zeros((2, 2), int)).shape == (2, 8)


VECTORS = jnp.array([[0.0], [1.0], [5.0]])
CODED = types.SimpleNamespace(bins=None, name="latents", shape=(2, 1), codes=VECTORS, from_model=lambda x: x)
"""Latents that are two vectors, each one of three codes."""


def test_codes_of_latents_are_the_nearest_and_decoded_as_vectors():
    coding = codes(CODED)
    assert (coding.num_codes, coding.grid) == (3, (2,))
    encoded = coding.encode(np.array([[[0.9], [4.0]]]))
    assert isinstance(encoded, np.ndarray)  # on the host: a batch waits for no step of the device
    assert encoded.tolist() == [[1, 2]]
    assert coding.decode(encoded).tolist() == [[[1.0], [5.0]]]
    table = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    many = codes(types.SimpleNamespace(codes=jnp.asarray(table), shape=(4, 3), name="latents", from_model=None))
    x = np.random.default_rng(1).normal(size=(20, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(many.encode(x), nearest_code(x, table))
