"""A user's own sounds as a data set: streams, captions, and what is wrong."""

import functools
import itertools
import sys

import numpy as np
import pytest
from programs import error_of

from experiments.data.captions import Source, Tokens
from experiments.data.dataset import preprocess
from experiments.data.sound_files import SoundFiles
from scorekit import audio

RATE = 4000


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Ten stereo sines of a class, and ten others at twice the rate, of a quarter to three seconds."""
    root, rng = tmp_path_factory.mktemp("own") / "bells", np.random.default_rng(0)
    for kind, i in itertools.product(("high", "low"), range(10)):
        rate = RATE if kind == "low" else 2 * RATE
        t = np.arange(int(rate * (0.25 + 0.3 * i))) / rate
        x = np.sin(2 * np.pi * rng.uniform(100, 900) * t)
        (root / kind).mkdir(parents=True, exist_ok=True)
        audio.write(root / kind / f"{i}.wav", np.stack([0.4 * x, 0.1 * x]), rate)
    return root


load = functools.partial(SoundFiles, crop=2048, sample_rate=RATE)


def test_sounds_without_their_extra_name_it(own, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    words = "config.data: sound files need soundfile: pip install 'scorekit[sound]'"
    assert words in error_of(load, path=str(own))


def test_clips_are_streamed_with_the_classes_of_their_folders(own):
    dataset = load(path=str(own), workers=2)
    assert (dataset.name, dataset.unit, dataset.class_names) == ("bells", "clips of 0.512 s at 4 kHz", ("high", "low"))
    assert (dataset.examples, dataset.held_out(), dataset.streaming, dataset.shape) == (54, 2, True, (2048, 1))
    assert set(dataset.batch(7, 0, 8)["label"]) == {0, 1}
    fixed = load(path=str(own), streaming=False, peak=0.5, label="none")
    assert (len(fixed.train["x"]), fixed.num_classes, fixed.class_names) == (54, 1, ())
    for part in (fixed.batch(0, 0, 9), load(path=str(own), peak=0.5).batch(0, 0, 9)):
        np.testing.assert_allclose(np.abs(part["x"].astype(int)).max(axis=1), 2**14, atol=1)


def test_captions_are_a_condition_of_every_clip(own, tmp_path):
    root = tmp_path / "captioned"
    root.mkdir()
    for i in range(6):
        audio.write(root / f"{i}.wav", np.full(3000, (i + 1) / 10), RATE)
        (root / f"{i}.txt").write_text(f"sound {i % 3}")
    states = np.arange(3, dtype=np.float16)[:, None, None] * np.ones((3, 4, 8), np.float16)
    known = np.array([f"sound {i}" for i in range(3)])
    np.savez(tmp_path / "encoder.npz", captions=known, states=states, mask=np.ones((3, 4), bool), pooled=states[:, 0])
    captions = Source(str(tmp_path / "encoder.npz"))
    dataset = load(path=str(root), captions=captions)
    for part in (dataset.batch(0, 0, 8), next(dataset.batches(0, 3, 8)), dataset.train, dataset.test):
        tokens = Tokens()(preprocess(dataset, part))
        number = np.round(part["x"][:, 0] / 2**15 * 10).astype(int) - 1
        np.testing.assert_array_equal(tokens[:, 0, 0], number % 3)
    without = load(path=str(own), captions=captions)
    words = "config.conditions: tokens and vector must not be captions of bells, which has none"
    assert words in error_of(lambda: without.test)


def test_silent_clips_are_counted_and_sets_of_them_or_of_two_rates_are_errors(tmp_path):
    for i in range(4):
        audio.write(tmp_path / f"{i}.wav", np.full(3000, float(i == 1)), RATE)
    dataset = load(path=str(tmp_path))
    with pytest.warns(UserWarning, match=r"2 of 3 clips of .* are silent"):
        message = error_of(lambda: [dataset.train, dataset.test])
    assert "there must be sound, all of 1 clips are silent" in message
    for part, rate in (("train", RATE), ("test", 2 * RATE)):
        (tmp_path / part).mkdir()
        audio.write(tmp_path / part / "0.wav", np.full(3000, 0.5), rate)
    words = "config.data.sample_rate=None: must be set: the sets have files of 4000 and 8000 Hz"
    assert words in error_of(load, path=str(tmp_path), sample_rate=None)
