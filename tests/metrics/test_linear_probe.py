"""Linear probes against explicit leave-one-out refits and scikit-learn's ridge regression."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from scorekit.metrics import fit_linear_probe, probe_accuracy
from scorekit.metrics.linear_probe import _PENALTIES

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)], ids=["tall", "wide"])
def test_linear_probe_is_ridge_regression_with_exact_leave_one_out_accuracy(shape):
    n, _ = shape
    label = np.arange(n) % 3
    x = RNG.normal(size=shape) * 3.0 + 5.0
    x[:, :3] += 2.0 * np.eye(3)[label]
    x[:, 5] = 7.0  # constant
    probe = fit_linear_probe(x, label, 3, penalties=(0.05,))
    scaled, y = (x - x.mean(axis=0)) / probe.scale, np.eye(3)[label]
    assert probe.scale[5] == 1.0
    ridge = Ridge(alpha=0.05 * n).fit(scaled, y)
    np.testing.assert_allclose(scaled @ probe.weights + probe.bias, ridge.predict(scaled), atol=1e-8)
    correct = 0
    for i in range(n):
        others = np.arange(n) != i
        refit = Ridge(alpha=0.05 * n).fit(scaled[others], y[others])
        correct += refit.predict(scaled[i : i + 1]).argmax() == label[i]
    assert probe.leave_one_out_accuracy == pytest.approx(correct / n)
    assert probe_accuracy(probe, x, label) == np.mean(ridge.predict(scaled).argmax(axis=1) == label)


def test_fit_linear_probe_selects_the_penalty_by_leave_one_out_accuracy():
    n = 30
    label = np.arange(n) % 2
    x = np.concatenate([(label[:, None] - 0.5) + 0.6 * RNG.normal(size=(n, 1)), RNG.normal(size=(n, 200))], axis=1)
    each = [fit_linear_probe(x, label, 2, penalties=(penalty,)).leave_one_out_accuracy for penalty in _PENALTIES]
    probe = fit_linear_probe(x, label, 2)
    assert probe.leave_one_out_accuracy == max(each)
    assert probe.penalty == _PENALTIES[np.flatnonzero(np.array(each) == max(each))[-1]]
