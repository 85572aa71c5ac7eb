"""Statistics of features that are merged, and the Fréchet distance of two of them in closed form."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from scorekit import metrics
from scorekit.metrics import FeatureStatistics

RNG = np.random.default_rng(0)


def assert_same(found, expected):
    assert found.count == expected.count
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_statistics_are_those_of_numpy_and_of_merged_parts(dim):
    x = RNG.normal(1e4, 1.0, (23, dim)).astype(np.float32)  # a float32 sum of squares would have no digits left
    expected = FeatureStatistics(
        23, x.astype(np.float64).mean(0), np.cov(x.astype(np.float64), rowvar=False).reshape(dim, dim)
    )
    assert_same(metrics.feature_statistics(x), expected)
    parts = [metrics.feature_statistics(part) for part in np.split(x, [1, 2, 10])]
    assert parts[0].count == 1
    assert_same(metrics.merge_statistics(parts), expected)
    assert_same(metrics.merge_over_processes(expected), expected)


@pytest.mark.parametrize("dim", [1, 2, 40])
def test_the_distance_of_gaussians_that_commute_is_that_of_their_deviations(dim):
    """``|m_a - m_b|^2 + sum (s_a - s_b)^2`` with common axes."""
    axes = np.linalg.qr(RNG.normal(size=(dim, dim)))[0]
    deviations = RNG.uniform(0.0, 2.0, (2, dim))
    if dim > 2:
        deviations[0, :30] = 0.0  # more dimensions than examples
    means = RNG.normal(size=(2, dim))
    a, b = (FeatureStatistics(None, m, (axes * d**2) @ axes.T) for m, d in zip(means, deviations, strict=True))
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((deviations[0] - deviations[1]) ** 2)
    np.testing.assert_allclose(metrics.fid(a, b), expected, rtol=1e-7)
    np.testing.assert_allclose(metrics.fid(b, a), expected, rtol=1e-7)
    assert abs(metrics.fid(a, a)) < 1e-12 * np.trace(a.covariance) + 1e-14


MERGE = """
import sys

import jax
import numpy as np
from scorekit import metrics

jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]), initialization_timeout=300)
x = np.arange(24.0).reshape(8, 3) ** 2 / 7
part = metrics.feature_statistics(x[:3] if sys.argv[2] == "0" else x[3:])
merged, whole = metrics.merge_over_processes(part), metrics.feature_statistics(x)
assert merged.count == 8
np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-14)
np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-13)
print("merged", merged.covariance.dtype)
"""


@pytest.mark.slow
def test_statistics_are_merged_over_two_processes():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", MERGE, address, rank], stdout=subprocess.PIPE, text=True, env=environment
        )
        for rank in "01"
    ]
    assert [process.communicate(timeout=300)[0].splitlines()[-1] for process in both] == ["merged float64"] * 2
