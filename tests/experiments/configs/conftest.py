"""Data of the shapes of the real ones, which take long to render or are not on every machine."""

import numpy as np
import pytest
from programs import captioned_squares

from experiments.data import roll_sets
from experiments.data.builders import sets
from scorekit import audio

SECONDS, FRAME_RATE = 4.096, 62.5


def _rate(name):
    return 1000 * int(name.split("/")[1].removesuffix("khz"))


def notes(name, *_):
    """Sines in place of notes, one of each of four instruments."""
    rate = _rate(name)
    pitch, instrument = np.array([40, 60, 72, 84], np.int32), np.arange(4, dtype=np.int32)
    n = np.arange(rate // 1000 * 1024)
    x = 0.5 * np.sin(2 * np.pi * 440 / rate * 2 ** ((pitch[:, None] - 69) / 12) * n)
    return sets.LabelledSounds(
        x=np.round(32767 * x).astype(np.int16),
        pitch=pitch,
        velocity=np.full(4, 90, np.int32),
        instrument=instrument,
        family=instrument // 2,
        instruments=tuple("abcd"),
        families=("e", "f"),
        sample_rate=rate,
        name=name,
    )


def phrases(name, *_):
    """Noise in place of phrases, of the first and the last of 74 instruments."""
    rate, rng = _rate(name), np.random.default_rng(0)
    x = rng.normal(scale=0.1, size=(2, round(SECONDS * rate)))
    roll = np.zeros((2, round(SECONDS * FRAME_RATE) + 1, 128), np.uint8)
    instrument = np.array([0, 73], np.int32)
    return sets.LabelledSounds(
        x=np.asarray(audio.float_to_pcm(x)),
        roll=roll,
        instrument=instrument,
        sample_rate=rate,
        frame_rate=FRAME_RATE,
        name=name,
    )


def pictures(*_):
    """Noise in place of emoji."""
    zeros = np.zeros(8, np.int32)
    return sets.CaptionedImages(
        x=np.random.default_rng(0).integers(256, size=(8, 64, 64, 3), dtype=np.uint8),
        captions=8 * (("a red heart",),),
        names=8 * ("red heart",),
        style=zeros,
        styles=("noto",),
        label=zeros,
        classes=("symbols",),
    )


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    """Sets of sounds and captioned pictures that are made here, and fewer drawn songs."""
    monkeypatch.setattr(sets, "load_notes", notes)
    monkeypatch.setattr(sets, "load_phrases", phrases)
    monkeypatch.setattr(sets, "load_captioned", pictures)
    monkeypatch.setattr(roll_sets, "_TRAIN", 20)
    monkeypatch.setattr(roll_sets, "_TEST", 4)


@pytest.fixture(scope="session")
def own_files(tmp_path_factory):
    """A folder with the files that configs for a user's own data name."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    captioned_squares(folder)
    (folder / "recordings").mkdir()
    for i in range(2):
        audio.write(folder / "recordings" / f"{i}.wav", rng.normal(scale=0.1, size=40_000), 16_000)
    table = rng.normal(size=(40, 2))
    np.savetxt(folder / "table.csv", table, delimiter=",", header="a,b", comments="")
    np.savez(folder / "table.npz", theta=table, x=table + 1.0)
    return folder
