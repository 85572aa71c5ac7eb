"""``experiments.projects.audio.sound.vocode``: the metrics of its table."""

import numpy as np
import pytest

RATE = 4000


@pytest.fixture
def program(load_program):
    return load_program("experiments.projects.audio.sound.vocode")


def test_compare_measures_distances_to_the_truth_and_to_full_sampling(program):
    truth = np.random.default_rng(0).normal(size=(3, 4096)).astype(np.float32) * 0.1
    sounds = {"half": 0.5 * truth, "full": 0.25 * truth}
    table = program.compare(sounds, truth, RATE, "full", {"half": 0.5})
    rows = {row[0]: row[1:] for row in table.rows}
    six = 20 * np.log10(2)
    assert rows["half"][0] == pytest.approx(six, abs=0.01)
    assert rows["half"][1] == pytest.approx(0.5 + np.log(2), abs=0.01)
    assert rows["half"][2] == pytest.approx(six, abs=0.01)
    assert rows["half"][3] == pytest.approx(1 + np.log(2), abs=0.01)  # the reference is the quieter one
    assert rows["half"][4] == 0.5
    assert rows["full"][0] == pytest.approx(2 * six, abs=0.01)
    assert rows["full"][2:] == [None, None, None]
