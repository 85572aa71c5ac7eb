"""Sets of notes and phrases in memory, in place of those that the library renders."""

import numpy as np

from experiments.data.builders.sets import LabelledSounds

RATE = 4000


def note_set(x, pitch, instrument, family, names=tuple("abcd"), name="notes"):
    """Notes ``(N, L)`` at full scale 1 of two families."""
    codes, velocity = np.round(32767 * x).astype(np.int16), np.full(len(x), 90, np.int32)
    pitch, instrument, family = (np.asarray(each, np.int32) for each in (pitch, instrument, family))
    return LabelledSounds(x=codes, pitch=pitch, velocity=velocity, instrument=instrument, family=family,
                   instruments=tuple(names), families=("even", "odd"), sample_rate=RATE, name=name)  # fmt: skip


def tones(name, split, *_):
    """Notes of two families of two instruments each: with even partials, and without."""
    pitch, instrument = np.tile(np.arange(45, 75), 4), np.repeat(np.arange(4), 30)
    if split == "test":
        pitch, instrument = pitch[::5], instrument[::5]
    n, f = np.arange(2048) / RATE, 440 * 2 ** ((pitch[:, None] - 69) / 12)
    even = np.where(instrument // 2, 0.0, 1.0)[:, None]
    x = np.sin(2 * np.pi * f * n) + 0.5 * even * np.sin(4 * np.pi * f * n) + 0.3 * np.sin(6 * np.pi * f * n)
    x = 0.3 * x * np.exp(-(1 + instrument[:, None] % 2) * n)
    return note_set(x, pitch, instrument, instrument // 2, ("Organ", "Flute", "Oboe", "Cello"), name)


def phrase_set(x, roll=None, instrument=None, name="phrases"):
    """Phrases ``(N, L)`` of 16 bits, by default of four instruments without notes."""
    roll = np.zeros((len(x), 1 + x.shape[1] // 64, 128), np.uint8) if roll is None else roll
    instrument = np.arange(len(x)) if instrument is None else instrument
    return LabelledSounds(
        x=np.asarray(x, np.int16),
        roll=roll,
        instrument=np.asarray(instrument, np.int32),
        sample_rate=RATE,
        frame_rate=62.5,
        name=name,
    )
