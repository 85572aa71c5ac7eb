"""``experiments.projects.audio.sound.vocode``: the metrics of its table."""

import numpy as np
import pytest


def test_compare_measures_distances_to_the_truth_and_to_full_sampling(load_program):
    truth = np.random.default_rng(0).normal(size=(3, 4096)).astype(np.float32) * 0.1
    sounds = {"half": 0.5 * truth, "full": 0.25 * truth}
    compare, six = load_program("experiments.projects.audio.sound.vocode").compare, 20 * np.log10(2)
    (_, *half), (_, *full) = compare(sounds, truth, 4000, "full", {"half": 0.5}).rows
    np.testing.assert_allclose(half, [six, 0.5 + np.log(2), six, 1 + np.log(2), 0.5], atol=0.01)
    assert [full[0], *full[2:]] == [pytest.approx(2 * six, abs=0.01), None, None, None]
