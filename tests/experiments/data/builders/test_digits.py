"""The digits of scikit-learn as a set of TFDS."""

import numpy as np
from sklearn.datasets import load_digits

from experiments.data.builders.digits import split_indices  # registers the set
from scorekit.data import load


def test_digits_are_the_scans_of_scikit_learn_and_both_splits_cover_classes_and_parts_of_the_file(tmp_path):
    pixels, label = load_digits(return_X_y=True)
    train, test = split_indices(label)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(1797))
    assert set(np.bincount(label[test])) == {29, 30}
    per_part = np.histogram(test, bins=13, range=(0, 1797))[0]  # thirteen writers
    assert per_part.min() >= 297 // 13 - 5
    scans = pixels.astype(np.uint8).reshape(-1, 8, 8, 1)
    for split, rows in (("train", train), ("test", test)):
        part = load("sklearn_digits", split, tmp_path)
        assert (part.bins, part.num_classes) == (17, 10)
        of = lambda x, label: sorted(bytes([c]) + image.tobytes() for image, c in zip(x, label, strict=True))
        assert of(part.x, part.label) == of(scans[rows], label[rows])
