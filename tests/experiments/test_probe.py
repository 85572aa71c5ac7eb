"""The probe against leaving one example out in fact, and against scikit-learn's ridge regression."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from experiments import probe

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)], ids=["tall", "wide"])
def test_the_probe_is_ridge_regression_and_its_left_out_accuracy_is_true(shape, monkeypatch):
    n, _ = shape
    label = np.arange(n) % 3
    x = RNG.normal(size=shape) * 3.0 + 5.0
    x[:, :3] += 2.0 * np.eye(3)[label]
    x[:, 5] = 7.0  # does not vary
    monkeypatch.setattr(probe, "PENALTIES", np.array([0.05]))
    found = probe.fit_probe(x, label, 3)
    scaled, y = (x - x.mean(axis=0)) / found.scale, np.eye(3)[label]
    assert found.scale[5] == 1.0
    oracle = Ridge(alpha=0.05 * n).fit(scaled, y)
    np.testing.assert_allclose(scaled @ found.weights + found.bias, oracle.predict(scaled), atol=1e-8)
    right = 0
    for i in range(n):
        others = np.arange(n) != i
        one = Ridge(alpha=0.05 * n).fit(scaled[others], y[others])
        right += one.predict(scaled[i : i + 1]).argmax() == label[i]
    assert found.left_out == pytest.approx(right / n)
    assert probe.accuracy(found, x, label) == np.mean(oracle.predict(scaled).argmax(axis=1) == label)


def test_the_penalty_is_chosen_by_the_left_out_accuracy():
    n = 30
    label = np.arange(n) % 2
    x = np.concatenate([(label[:, None] - 0.5) + 0.6 * RNG.normal(size=(n, 1)), RNG.normal(size=(n, 200))], axis=1)
    each = []
    for penalty in probe.PENALTIES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(probe, "PENALTIES", np.array([penalty]))
            each.append(probe.fit_probe(x, label, 2).left_out)
    found = probe.fit_probe(x, label, 2)
    assert found.left_out == max(each)
    assert found.penalty == probe.PENALTIES[np.flatnonzero(np.array(each) == max(each))[-1]]


def test_refusals():
    with pytest.raises(ValueError, match=r"features and label must have one length, got 3 and \(2,\)"):
        probe.fit_probe(np.ones((3, 2)), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="features must be finite, 1 of 2 examples are not"):
        probe.fit_probe(np.array([[1.0], [np.nan]]), np.array([0, 1]), 2)
