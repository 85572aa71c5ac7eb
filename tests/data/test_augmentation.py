"""Flips, crops and the augmentation of EDM: exact where pixels fall on pixels, with the frequencies they claim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import data
from scorekit.data import EDM_LABELS, augmentation

random_flip, transform = jax.jit(data.random_flip), jax.jit(augmentation._transform)
random_crop = jax.jit(data.random_crop, static_argnums=(2, 3))
edm_augment = jax.jit(data.edm_augment)

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
MANY = jnp.tile(X[:1, :4, :4, :1], (2000, 1, 1, 1))
ZERO = jnp.zeros((2, 8))


def test_flips_are_from_left_to_right_half_of_the_time():
    x = jnp.tile(jnp.arange(3, dtype=jnp.uint8)[None, None, :, None], (1000, 2, 1, 1))
    y = np.asarray(random_flip(KEY, x))
    assert y.dtype == np.uint8
    flipped = (y == x[:, :, ::-1]).all((1, 2, 3))
    assert ((y == x).all((1, 2, 3)) ^ flipped).all()
    assert 0.45 < flipped.mean() < 0.55
    np.testing.assert_array_equal(random_flip(KEY, x, 0.0), x)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_crops_are_the_translations_of_the_padded_image(mode):
    x = np.arange(12, dtype=np.uint8).reshape(1, 4, 3, 1)
    padded = np.pad(x[0], ((2, 2), (2, 2), (0, 0)), mode=mode)
    translations = {padded[i : i + 4, j : j + 3].tobytes() for i in range(5) for j in range(5)}
    y = np.asarray(random_crop(KEY, np.repeat(x, 400, axis=0), 2, mode))
    assert {image.tobytes() for image in y} == translations  # all of them, and nothing else


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, lambda x: x),
        ({0: 1.0}, lambda x: x[:, :, ::-1]),
        ({1: 1.0}, lambda x: x[:, ::-1]),
        ({3: np.pi / 2}, lambda x: jnp.rot90(x, -1, (1, 2))),  # from x (right) to y (down): clockwise
        ({3: -np.pi / 2}, lambda x: jnp.rot90(x, 1, (1, 2))),
        ({3: np.pi}, lambda x: x[:, ::-1, ::-1]),
        ({0: 1.0, 3: np.pi / 2}, lambda x: jnp.rot90(x[:, :, ::-1], -1, (1, 2))),  # the flip first
        ({4: 0.7}, lambda x: x),  # the axis of no anisotropy
    ],
)
def test_flips_and_quarter_turns_are_exact(parameters, expected):
    a = ZERO
    for index, value in parameters.items():
        a = a.at[:, index].set(value)
    np.testing.assert_array_equal(transform(X, a), expected(X))


def test_whole_translations_are_exact_and_mirror_the_image_at_its_edges():
    y = transform(X, ZERO.at[:, 6].set(1.0).at[:, 7].set(-2.0))  # 8 / 8 = 1 to the right, 2 up
    padded = jnp.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(y, padded[:, 4:, 1:9])


def test_scaling_and_anisotropy_move_content_from_the_centre():
    """A quadratic function of the position is resampled exactly by cubic convolution, away from the edges."""
    p = jnp.arange(16.0) - 7.5
    x = jnp.broadcast_to(p[None, None, :, None] ** 2 + 3.0 * p[None, :, None, None], (1, 16, 16, 1))
    inside = (slice(None), slice(5, 11), slice(5, 11))
    scaled = transform(x, jnp.zeros((1, 8)).at[:, 2].set(1.0))[inside]
    s = 2.0**-0.2
    u, v = jnp.meshgrid(p[5:11], p[5:11], indexing="xy")
    np.testing.assert_allclose(scaled[0, ..., 0], (s * u) ** 2 + 3.0 * s * v, atol=2e-4)
    stretched = transform(x, jnp.zeros((1, 8)).at[:, 5].set(1.0))[inside]  # along x, and shrunk along y
    np.testing.assert_allclose(stretched[0, ..., 0], (s * u) ** 2 + 3.0 / s * v, atol=2e-4)
    turned = transform(x, jnp.zeros((1, 8)).at[:, 4].set(jnp.pi / 2).at[:, 5].set(1.0))[inside]
    np.testing.assert_allclose(turned[0, ..., 0], (u / s) ** 2 + 3.0 * s * v, atol=2e-4)


@pytest.mark.slow
def test_labels_describe_what_was_done():
    y, labels = edm_augment(KEY, MANY, 0.12, 0.12)
    assert labels.shape == (len(MANY), EDM_LABELS)
    x = MANY
    untouched = (labels == 0).all(1)
    np.testing.assert_array_equal(y[untouched], x[untouched])
    assert not (y[~untouched] == x[~untouched]).all((1, 2, 3)).any()
    share = np.asarray(labels != 0).mean(0)
    np.testing.assert_allclose(share, [0.06, 0.06, *[0.12] * 7], atol=0.03)
    both = (labels != 0)[:, [3, 5, 7]]  # cos and sin, and the two of a translation, come together
    np.testing.assert_array_equal(both, (labels != 0)[:, [4, 6, 8]])
    flips = np.asarray((labels[:, 0] == 1) & (labels[:, 1:] == 0).all(1))
    assert flips.any()
    np.testing.assert_array_equal(y[flips], x[flips][:, :, ::-1])


@pytest.mark.slow
def test_probability_zero_is_the_identity_and_the_x_flip_has_its_own():
    y, labels = edm_augment(KEY, MANY, 0.0, 0.0)
    np.testing.assert_array_equal(y, MANY)
    assert not labels.any()
    _, labels = edm_augment(KEY, MANY, 0.0, 1.0)
    assert 0.4 < labels[:, 0].mean() < 0.6
    assert not labels[:, 1:].any()


@pytest.mark.slow
def test_all_pass_under_vmap_over_keys_and_batches():
    keys, x = jax.random.split(KEY, 3), jnp.stack([X, X + 1, X - 1])
    for augment in (random_flip, lambda k, x: random_crop(k, x, 2), lambda k, x: edm_augment(k, x)[0]):
        found = jax.jit(jax.vmap(augment))(keys, x)
        np.testing.assert_allclose(found[1], augment(keys[1], x[1]), atol=1e-6)
