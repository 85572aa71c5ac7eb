"""Drifting: the drift is the difference of the scores of two kernel densities, and data attract by class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import densities, flow_maps


def smoothed(points, weights, bandwidth):
    """The density of points and Gaussian noise of this standard deviation."""
    return densities.mixture(weights, [densities.gaussian(point, std=bandwidth) for point in points])


def drawn(dim, *sizes, dtype=np.float32):
    """Points, data and samples."""
    rng = np.random.default_rng(dim)
    return [jnp.asarray(rng.normal(size=(size, dim)) + 0.5 * shift, dtype) for shift, size in enumerate(sizes)]


@pytest.mark.parametrize(("dim", "x64", "tolerance"), [(64, False, 1e-4), (2, True, 1e-12)])
def test_gaussian_drift_is_the_difference_of_the_scores_of_smoothed_sets(dim, x64, tolerance):
    with jax.enable_x64(x64):
        x, data, samples = drawn(dim, 5, 7, 6, dtype=float)
        w, v = jnp.arange(1.0, 8.0), jnp.arange(6.0, 0.0, -1.0)
        width = 0.6 * dim**0.5
        score = lambda points, weights: jax.vmap(jax.grad(smoothed(points, weights, width).log_density))(x)
        drift = flow_maps.kernel_drift(x, data, samples, width, data_weights=w, sample_weights=v, kernel="gaussian")
        np.testing.assert_allclose(drift / width**2, score(data, w) - score(samples, v), atol=tolerance)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
def test_modes_that_are_far_apart_do_not_change_the_drift_within_one(kernel):
    x, data, samples = drawn(2, 5, 7, 6)
    near = flow_maps.kernel_drift(x, data, samples, 0.5, kernel=kernel)
    far = lambda points: jnp.concatenate([points, jnp.round(points * 64) / 64 + 4096.0])  # exact in float32
    found = flow_maps.kernel_drift(far(x), far(data), far(samples), 0.5, kernel=kernel)
    np.testing.assert_allclose(found[: len(x)], near, atol=2e-3)  # of positions near 4,096
    rounded = [jnp.round(points * 64) / 64 for points in (x, data, samples)]
    np.testing.assert_allclose(found[len(x) :], flow_maps.kernel_drift(*rounded, 0.5, kernel=kernel), atol=2e-3)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
@pytest.mark.parametrize("joint", [False, True])
def test_drift_is_0_for_equal_sets_and_changes_sign_with_them(kernel, joint):
    x, data, samples = drawn(2, 5, 8, 6)
    drift = lambda a, b: flow_maps.kernel_drift(x, a, b, 0.5, kernel=kernel, joint=joint)
    np.testing.assert_array_equal(drift(data, data), 0.0)
    np.testing.assert_allclose(drift(data, samples), -drift(samples, data), atol=1e-6)
    assert np.abs(drift(data, samples)).max() > 0.05
    none = flow_maps.kernel_drift(x, data, samples, 0.5, sample_weights=0.0, kernel=kernel, joint=joint)
    np.testing.assert_array_equal(none, 0.0)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
def test_drift_of_a_point_that_is_infinitely_far_is_nan(kernel):
    x, data, samples = drawn(2, 5, 7, 6)
    run = jax.jit(lambda x: flow_maps.kernel_drift(x, data, samples, 0.5, kernel=kernel))
    for far in (jnp.inf, -1e30):  # the squares of the latter overflow
        found = jnp.isnan(run(x.at[2].set(far)))
        assert found.all(1).tolist() == found.any(1).tolist() == [False, False, True, False, False]
    with pytest.raises(ValueError, match="x must be finite, but 1 of 10 values are not"):
        flow_maps.kernel_drift(x.at[0, 0].set(jnp.inf), data, samples, 0.5)


def test_laplace_drift_of_the_paper_is_its_sum_over_pairs():
    """``sum_ij a_i b_j (y_i - z_j)``, with the roots of the softmax over both sets and of that over the points x."""
    x, data, samples = (np.asarray(a, np.float64) for a in drawn(3, 4, 5, 6))
    kernel = np.exp(-np.linalg.norm(x[:, None] - np.concatenate([data, samples]), axis=-1) / 0.8)
    share = kernel / np.sqrt(kernel.sum(1, keepdims=True) * kernel.sum(0, keepdims=True))
    pairs = data[:, None] - samples
    expected = np.einsum("bi,bj,ijd->bd", share[:, :5], share[:, 5:], pairs)
    drift = flow_maps.kernel_drift(*map(jnp.float32, (x, data, samples)), 0.8, joint=True)
    np.testing.assert_allclose(drift, expected, atol=1e-5)


def test_weights_are_those_of_classes_and_the_data_of_all_repel_a_guided_sample():
    labels, of_data = jnp.array([0, 0, 1, -1]), jnp.array([0, 1, 1])
    weights = flow_maps.drift_weights(labels, of_data, jnp.array([1.0, 4.0, 1.0, 1.0]))
    np.testing.assert_array_equal(weights.data, [[1, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]])
    repelling = [[0, 1, 0, 0, 0, 0, 0], [0.25, 0, 0, 0, 0.25, 0.25, 0.25], [0] * 7, [0] * 7]
    np.testing.assert_allclose(weights.repelling, repelling)
    without = flow_maps.drift_weights(jnp.array([-1, -7]), of_data)  # none is none
    np.testing.assert_array_equal(without.repelling, [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]])


def test_guided_samples_are_in_equilibrium_at_the_guided_density():
    """``q = γ p(x | c) - (γ - 1) p(x)`` on two places, 0 and 1: 7/8 of the samples are at 0 for 3/4 of the class."""
    data = jnp.array([0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0])[:, None]
    samples = jnp.array([0.3, *[0.0] * 7, 1.0])[:, None]  # the first does not repel itself
    drift = {}
    for scale in (1.0, 1.5):
        weights = flow_maps.drift_weights(jnp.zeros(9, int), jnp.repeat(jnp.arange(2), 4), scale)
        given = {"data_weights": weights.data, "sample_weights": weights.repelling}
        drift[scale] = flow_maps.kernel_drift(samples, data, jnp.concatenate([samples, data]), 0.5, **given)[0, 0]
    np.testing.assert_allclose(drift[1.5], 0.0, atol=1e-6)
    assert drift[1.0] > 0.05


def test_gradient_of_the_loss_is_the_drift_and_each_leaf_is_a_space_of_its_own():
    samples, data = drawn(2, 6, 9)
    weights = flow_maps.drift_weights(jnp.zeros(6, int), jnp.zeros(9, int)).repelling[:, :6]
    unit = np.mean(np.linalg.norm(np.asarray(samples)[:, None] - np.asarray(data), axis=-1)) / np.sqrt(2)
    loss = lambda x, y: flow_maps.drifting_loss(x, y, (0.4, 0.1), joint=False)
    directions = []
    for h in (0.4, 0.1):
        drift = flow_maps.kernel_drift(samples, data, samples, h * np.sqrt(2) * unit, sample_weights=weights)
        directions.append(drift / np.sqrt(np.mean(drift**2)))
    slope = jax.grad(lambda x: loss(x, data).sum())(samples)
    np.testing.assert_allclose(-slope * unit, sum(directions), rtol=1e-3, atol=1e-4)
    both = loss({"a": samples, "b": 3 * samples}, {"a": data, "b": 3 * data})
    np.testing.assert_allclose(both, 2 * loss(samples, data), rtol=1e-4)
    np.testing.assert_array_equal(jax.grad(lambda y: loss(samples, y).sum())(data), 0.0)


def test_drifts_of_bfloat16_points_are_computed_in_float32():
    half = [points.astype(jnp.bfloat16) for points in drawn(2, 5, 7)]
    full = [points.astype(jnp.float32) for points in half]
    loss = flow_maps.drifting_loss(*half)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, flow_maps.drifting_loss(*full), rtol=1e-5)
    drift = flow_maps.kernel_drift(*half, half[0], 0.5)
    assert drift.dtype == jnp.bfloat16
    np.testing.assert_array_equal(drift, flow_maps.kernel_drift(*full, full[0], 0.5).astype(jnp.bfloat16))
