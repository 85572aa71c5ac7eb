"""The reference classifier on real images, and on samples whose quality is known."""

import numpy as np
import pytest

from experiments.data.builders import register
from scorekit.data import load, to_unit
from scorekit.metrics import reference_classifier as rc


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    register("sklearn_digits")
    sets = [load("sklearn_digits", split, folder) for split in ("train", "test")]
    return [(np.asarray(to_unit(s.x, s.bins)), s.label) for s in sets]


@pytest.fixture(scope="module")
def classifier(images):
    return rc.fit_reference_classifier(*images[0])


def test_reference_classifier_classifies_real_digits(classifier, images):
    accuracy = rc.class_accuracy(classifier, *images[1])
    assert accuracy >= 0.99
    assert accuracy == classifier.score(images[1][0].reshape(297, 64), images[1][1])


def test_class_accuracy_counts_wrong_classes(classifier, images):
    x, label = images[0]
    assert rc.class_accuracy(classifier, x, label) > 0.999
    wrong = np.where(np.arange(len(x)) < 375, (label + 1) % 10, label)  # a quarter
    assert rc.class_accuracy(classifier, x, wrong) == pytest.approx(0.75, abs=0.005)


def test_classification_accuracy_score_falls_when_samples_lack_diversity(classifier, images):
    (x, label), test = images
    assert rc.classification_accuracy_score(x, label, *test) >= 0.99
    one_each = np.array([np.flatnonzero(label == c)[0] for c in range(10)])
    rows = np.repeat(one_each, 20)
    assert rc.class_accuracy(classifier, x[rows], label[rows]) == 1.0
    assert rc.classification_accuracy_score(x[rows], label[rows], *test) < 0.85


def test_fit_subsamples_large_sets_deterministically(monkeypatch, images):
    (x, label), test = images
    monkeypatch.setattr(rc, "_FIT_LIMIT", 200)
    first, second = rc.fit_reference_classifier(x, label), rc.fit_reference_classifier(x, label)
    assert first.shape_fit_ == (200, 64)
    np.testing.assert_array_equal(
        first.decision_function(test[0].reshape(297, 64)), second.decision_function(test[0].reshape(297, 64))
    )
    assert rc.class_accuracy(first, *test) > 0.9


def test_fit_accepts_constant_images():
    classifier = rc.fit_reference_classifier(np.zeros((6, 2, 2, 1)), np.arange(6) % 2)
    assert rc.class_accuracy(classifier, np.zeros((4, 2, 2, 1)), np.arange(4) % 2) == 0.5
