"""The judge on real scans, and on samples whose quality is known."""

import numpy as np
import pytest

from experiments import judge as judges
from scorekit.data import load, to_unit


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    sets = [load("sklearn_digits", split, folder) for split in ("train", "test")]
    return [(np.asarray(to_unit(s.x, s.levels)), s.label) for s in sets]


@pytest.fixture(scope="module")
def judge(scans):
    return judges.fit_judge(*scans[0])


def test_the_judge_knows_real_digits(judge, scans):
    accuracy = judges.real_accuracy(judge, *scans[1])
    assert accuracy >= 0.99
    assert accuracy == judge.score(scans[1][0].reshape(297, 64), scans[1][1])


def test_class_accuracy_counts_the_wrong_classes(judge, scans):
    x, label = scans[0]
    assert judges.class_accuracy(judge, x, label) > 0.999
    wrong = np.where(np.arange(len(x)) < 375, (label + 1) % 10, label)  # a quarter
    assert judges.class_accuracy(judge, x, wrong) == pytest.approx(0.75, abs=0.005)


def test_classification_accuracy_score_falls_when_samples_lack_variety(judge, scans):
    (x, label), test = scans
    assert judges.classification_accuracy_score(x, label, *test) >= 0.99
    one_each = np.array([np.flatnonzero(label == c)[0] for c in range(10)])
    rows = np.repeat(one_each, 20)
    assert judges.class_accuracy(judge, x[rows], label[rows]) == 1.0
    assert judges.classification_accuracy_score(x[rows], label[rows], *test) < 0.85


def test_large_sets_are_subsampled_and_the_judge_is_deterministic(monkeypatch, scans):
    (x, label), test = scans
    monkeypatch.setattr(judges, "FIT_LIMIT", 200)
    first, second = judges.fit_judge(x, label), judges.fit_judge(x, label)
    assert first.shape_fit_ == (200, 64)
    np.testing.assert_array_equal(
        first.decision_function(test[0].reshape(297, 64)), second.decision_function(test[0].reshape(297, 64))
    )
    assert judges.real_accuracy(first, *test) > 0.9


def test_constant_images_are_judged_rather_than_refused():
    judge = judges.fit_judge(np.zeros((6, 2, 2, 1)), np.arange(6) % 2)
    assert judges.class_accuracy(judge, np.zeros((4, 2, 2, 1)), np.arange(4) % 2) == 0.5


@pytest.mark.parametrize(
    ("x", "label", "message"),
    [
        (np.zeros((3, 4)), np.zeros(3, int), "label must hold at least two classes"),
        (np.zeros((3, 4)), np.arange(2), r"x must be \(N, ...\) and label \(N,\).*\(3, 4\) and \(2,\)"),
        (np.zeros((0, 4)), np.arange(0), "N >= 1"),
        (np.array([[0.0], [np.nan], [1.0]]), np.arange(3), "x must be finite, 1 of 3 are not"),
    ],
)
def test_refusals(x, label, message):
    with pytest.raises(ValueError, match=message):
        judges.fit_judge(x, label)
