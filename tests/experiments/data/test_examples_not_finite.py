"""Data that are not finite end a program with one line, whether they are loaded, drawn for a batch, or encoded."""

from types import SimpleNamespace

import numpy as np
import pytest
from programs import POINTS, error_of, fails

from experiments import data
from experiments.configs.points import mixture_2d
from experiments.data.vectors.points import Ring
from experiments.tasks.latents.latent_data import Latents


def broken_after(monkeypatch, sound, value):
    """Every set of points after the first ``sound`` ones has this value in its second example."""
    draw, drawn = Ring._points, []

    def points(self, key, n):
        part = {name: array.copy() for name, array in draw(self, key, n).items()}
        drawn.append(n)
        if len(drawn) > sound:
            part["x"][1, 0] = value
        return part

    monkeypatch.setattr(Ring, "_points", points)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("sound", "what"), [(0, "training"), (1, "test")])
def test_loading_counts_examples_that_are_not_finite(monkeypatch, sound, what, value):
    broken_after(monkeypatch, sound, value)
    words = f"config.data.name=ring: x of 1 of 2000 {what} examples is not finite"
    config = mixture_2d.get_config()
    assert words in error_of(data.check_rows, config, data.build(config))


def test_latents_that_are_not_finite_are_an_error():
    latents = SimpleNamespace(_encode=lambda x: x, _mean=np.zeros(1), _std=np.array([0.0]), name="latents of digits")
    words = "config.latents: x of 2 of 2 examples, latents of digits, is not finite"
    with np.errstate(all="ignore"):
        assert words in error_of(Latents._encoded, latents, {"x": np.ones((2, 1), np.float32)})


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_training_ends_at_the_first_batch_that_is_not_finite(monkeypatch, tmp_path, value):
    broken_after(monkeypatch, 2 + 2, value)  # two sets, two batches
    err = fails("train", *POINTS, f"--workdir={tmp_path / 'run'}", at_once=False)
    assert err.splitlines()[-1].startswith("error: config.data: x of 1 of 16 examples of batch 3 is not finite")
