"""Operators: adjoints, and the formulas against numpy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, signal

from scorekit import denoisers, guidance, schedules
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
    "low_pass": (operators.blur(operators.low_pass_kernel(0.2, 3), "zero"), SIGNALS),
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


@pytest.mark.parametrize(("cutoff", "radius"), [(0.1, 20), (0.25, 7), (0.4, 32)])
def test_the_low_pass_kernel_is_that_of_scipy(cutoff, radius):
    ours = operators.low_pass_kernel(cutoff, radius)
    theirs = signal.firwin(2 * radius + 1, 2 * cutoff, window="boxcar") * signal.windows.hann(2 * radius + 3)[1:-1]
    np.testing.assert_allclose(ours, theirs / np.sum(theirs), atol=1e-12)
    response = lambda f: abs(np.sum(ours * np.exp(-2j * np.pi * f * np.arange(2 * radius + 1))))
    assert response(0.0) == pytest.approx(1)
    assert response(cutoff) == pytest.approx(0.5, abs=0.02)


def test_clip_moves_estimates_up_to_the_level_and_not_beyond():
    level = np.array([[1.0], [2.0]])
    truth = np.array([[-3.0, 0.5, 1.5, 0.1], [-3.0, 0.5, 1.5, 0.1]], np.float32)
    y = np.clip(truth, -level, level)
    operator = operators.clip(level, np.abs(y) < level)
    np.testing.assert_array_equal(operator(truth), y)
    estimate = jnp.array([[-4.0, 0.2, 0.8, 1.7], [-1.0, 0.2, 0.8, 2.5]])
    np.testing.assert_allclose(y - operator(estimate), [[0, 0.3, 0.2, -1.6], [-1, 0.3, 0.7, -2.4]], atol=1e-6)
    slope = jax.grad(lambda x: operator(x).sum())(estimate)
    np.testing.assert_array_equal(slope, [[0, 1, 1, 1], [1, 1, 1, 1]])
    prior = denoisers.denoiser_from_network(lambda x, t: estimate, schedules.Cosine(), "x0")
    found = guidance.replacement(prior, schedules.Cosine(), operator, jnp.asarray(y))(jnp.zeros((2, 4)), 0.5).x0
    np.testing.assert_allclose(found, [[-4, 0.5, 1, 0.1], [-2, 0.5, 1.5, 0.1]], atol=1e-6)
