"""Frequency-decoupled guidance, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_table import COND, UNCOND, T, X, same

from scorekit import Prediction
from scorekit.guidance import classifier_free, frequency_decoupled
from scorekit.guidance._pyramids import from_pyramid, laplacian_pyramid

KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def reduce_line(x):
    return np.convolve(np.pad(x, 2, mode="edge"), KERNEL, mode="valid")[::2]


def expand_line(x, n):
    """Zeros between the values, then twice the filter; the ends are continued by their values."""
    longer = np.pad(x, 2, mode="edge")
    stuffed = np.zeros(2 * len(longer))
    stuffed[::2] = longer
    return np.convolve(stuffed, 2 * KERNEL, mode="same")[4 : 4 + n]


def along(function, x, axis, *args):
    return np.apply_along_axis(function, axis, x, *args)


def numpy_pyramid(x, levels):
    bands = []
    for _ in range(levels - 1):
        small = x
        for axis in range(1, x.ndim - 1):
            small = along(reduce_line, small, axis)
        large = small
        for axis in range(1, x.ndim - 1):
            large = along(expand_line, large, axis, x.shape[axis])
        bands.append(x - large)
        x = small
    return [*bands, x]


SHAPES = [(2, 8, 7, 3), (2, 9, 2), (1, 1, 2, 3, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_laplacian_pyramid_matches_numpy_and_reconstructs(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    bands = jax.jit(lambda x: laplacian_pyramid(x, 3))(x)
    for band, expected in zip(bands, numpy_pyramid(np.float64(x), 3), strict=True):
        np.testing.assert_allclose(band, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(from_pyramid)(bands), x, rtol=0, atol=5e-7)


def test_factors_of_one_are_classifier_free():
    rules = [frequency_decoupled(COND, UNCOND, 3.0, [1.0] * bands) for bands in (1, 2, 4)]
    plain, *found = jax.jit(lambda: [rule(X, T) for rule in (classifier_free(COND, UNCOND, 3.0), *rules)])()
    for one in found:
        same(one, plain, rtol=1e-4, atol=1e-5)


def test_each_band_has_its_scale():
    scales = [5.0, 2.0, -1.0]
    rule = frequency_decoupled(COND, UNCOND, 5.0, [(scale - 1.0) / 4.0 for scale in scales])
    found, cond, uncond = jax.jit(lambda: [d(X, T) for d in (rule, COND, UNCOND)])()
    for half, c, u in zip(found, cond, uncond, strict=True):
        bands = numpy_pyramid(np.float64(c) - np.float64(u), 3)
        total = bands[2] * scales[2]
        for k in (1, 0):
            total = bands[k] * scales[k] + along(expand_line, total, 1, bands[k].shape[1])
        np.testing.assert_allclose(half, u + total, rtol=1e-4, atol=1e-4)


def test_half_precision_and_trees():
    x = {"a": X.astype(jnp.bfloat16), "b": X[:, None]}

    def times(gain):
        return lambda x, t: Prediction(*[jax.tree.map(lambda leaf: gain * leaf, x)] * 2)

    cond, uncond = times(0.5), times(0.2)
    found = jax.jit(frequency_decoupled(cond, uncond, 3.0, [1.0, 1.0]))(x, T)
    assert found.x0["a"].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(found.x0["a"]), 1.1 * np.float32(x["a"]), rtol=0.02, atol=0.02)
    np.testing.assert_allclose(found.eps["b"], 1.1 * x["b"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: frequency_decoupled(COND, UNCOND, 2.0, ()), r"factors must be numbers, at least one, got \(\)"),
        (lambda: frequency_decoupled(COND, UNCOND, 2.0, ("low",)), "factors must be numbers"),
        (
            lambda: frequency_decoupled(COND, UNCOND, 1.0)(X[:, 0], T),
            r"x must be \(B, ..., C\) .* got shape \(5, 2\)",
        ),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()
