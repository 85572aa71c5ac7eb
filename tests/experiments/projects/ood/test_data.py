"""Image sets at one resolution and number of grey values."""

import numpy as np

from experiments.projects.ood import data


def test_resize_is_the_mean_over_areas():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1))
    exact = images.reshape(3, 7, 4, 7, 4, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(data.resize(images, 7), exact)
    fine = images.repeat(2, axis=1).repeat(2, axis=2).astype(float)  # 56 = 8 x 7: the same areas
    np.testing.assert_allclose(data.resize(images, 8), fine.reshape(3, 8, 7, 8, 7, 1).mean(axis=(2, 4)))
    np.testing.assert_array_equal(data.requantise(np.array([0.0, 127.4, 255.0]), 256, 17), [0, 8, 16])


def test_halves_do_not_overlap_and_near_sets_are_made_of_the_second(digits):
    sets = data.gather(digits, ["mirrored"], ["photos", "sklearn_digits"], 100, 0)
    assert list(sets) == [data.CALIBRATION, data.OWN, "mirrored (near)", "photos", "sklearn_digits"]
    rows = [{image.tobytes() for image in sets[name]} for name in (data.CALIBRATION, data.OWN)]
    assert len(rows[0]) == len(rows[1]) == 100
    assert not rows[0] & rows[1]
    np.testing.assert_array_equal(sets["mirrored (near)"][:, :, ::-1], sets[data.OWN])
    np.testing.assert_array_equal(sets["sklearn_digits"], digits.test["x"][:100])  # at their own resolution and bins
    assert all(found.shape == (100, 8, 8, 1) and found.max() <= 16 for found in sets.values())
