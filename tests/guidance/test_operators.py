"""Operators: adjoints, and the formulas against numpy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from scorekit.guidance import operators

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 6, 4, 3)).astype(np.float32)
SIGNALS = RNG.normal(size=(3, 8, 2)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 2)).astype(np.float32)
KEEP = RNG.random((6, 4, 1)) < 0.5

CASES = {
    "mask": (operators.mask(KEEP), IMAGES),
    "mask_of_a_tree": (operators.mask({"a": KEEP, "b": SIGNALS[0] > 0}), {"a": IMAGES, "b": SIGNALS}),
    "average_pool": (operators.average_pool(2), {"a": IMAGES, "b": SIGNALS}),
    **{f"blur_{edge}": (operators.blur(KERNEL, edge), IMAGES) for edge in ("edge", "reflect", "wrap", "zero")},
    "blur_signals": (operators.blur(KERNEL[:, 0]), SIGNALS),
    "grayscale": (operators.grayscale(), IMAGES),
    "your_own": (lambda x: x["a"][:, 1:, 0] * 2.0 - x["a"][:, :-1, 0], {"a": IMAGES}),
}


def inner(a, b):
    return sum(np.sum(np.float64(x) * y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize(("operator", "x"), CASES.values(), ids=CASES)
def test_the_adjoint_is_the_adjoint(operator, x):
    ax = operator(x)
    y = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), ax)
    back = operators.adjoint(operator, x)(y)
    assert jax.tree.structure(back) == jax.tree.structure(x)
    np.testing.assert_allclose(inner(ax, y), inner(x, back), rtol=1e-4, atol=1e-4)
    assert abs(inner(ax, y)) > 1e-2


MODES = {"edge": "nearest", "reflect": "mirror", "wrap": "wrap", "zero": "constant"}


@pytest.mark.parametrize("edge", MODES)
def test_blur_is_the_convolution_of_scipy(edge):
    found = operators.blur(KERNEL, edge)(IMAGES)
    for i, c in np.ndindex(3, 3):
        image, kernel = np.float64(IMAGES[i, ..., c]), np.float64(KERNEL)
        expected = ndimage.convolve(image, kernel, mode=MODES[edge])
        np.testing.assert_allclose(found[i, ..., c], expected, atol=1e-5)


def test_blur_of_signals_is_the_convolution_of_numpy():
    found = operators.blur(KERNEL[:, 0], "zero")(SIGNALS)
    np.testing.assert_allclose(found[1, :, 1], np.convolve(SIGNALS[1, :, 1], KERNEL[:, 0], "same"), atol=1e-5)


def test_pool_gray_and_mask_against_numpy():
    pooled = operators.average_pool(2)(IMAGES)
    assert pooled.shape == (3, 3, 2, 3)
    np.testing.assert_allclose(pooled[1, 2, 1], IMAGES[1, 4:6, 2:4].mean((0, 1)), atol=1e-6)
    gray = operators.grayscale((0.5, 0.2, 0.3))(IMAGES)
    np.testing.assert_allclose(gray, IMAGES @ np.float32([0.5, 0.2, 0.3]), atol=1e-6)
    np.testing.assert_array_equal(operators.mask(KEEP)(IMAGES), IMAGES * KEEP)
    assert operators.mask(KEEP)(jnp.asarray(IMAGES, jnp.bfloat16)).dtype == jnp.bfloat16


def test_gaussian_kernel():
    kernel = np.asarray(operators.gaussian_kernel(1.3, 2))
    i = np.arange(-2, 3)
    expected = np.exp(-(i[:, None] ** 2 + i**2) / (2 * 1.3**2))
    np.testing.assert_allclose(kernel, expected / expected.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: operators.average_pool(0), "factor must be an integer >= 1, got 0"),
        (lambda: operators.average_pool(4)(IMAGES), r"multiples of factor = 4, got \(6, 4\)"),
        (lambda: operators.blur(KERNEL, "mirror"), "edge must be edge, reflect, wrap or zero, got 'mirror'"),
        (lambda: operators.blur(KERNEL)(SIGNALS), r"kernel must have the 1 spatial axes of x, got shape \(3, 2\)"),
        (lambda: operators.average_pool(2)(KERNEL), r"x must be \(B, ..., C\)"),
        (lambda: operators.gaussian_kernel(0.0, 1), "std must be finite and > 0, got 0.0"),
        (lambda: operators.gaussian_kernel(1.0, -1), "radius must be >= 0, got -1"),
        (lambda: operators.adjoint(jnp.sin, KERNEL)(KERNEL), "operator must be linear to have an adjoint"),
        (lambda: operators.adjoint(lambda x: x * x, KERNEL)(KERNEL), "operator must be linear to have an adjoint"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
