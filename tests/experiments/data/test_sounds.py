"""Sounds as data sets: representations, crops, peaks, and the conditions computed from them."""

from functools import partial

import jax
import numpy as np
import pytest
from programs import error_of
from sound_sets import RATE, note_set, phrase_set

from experiments.data.builders import sets
from experiments.data.dataset import preprocess
from experiments.data.representation import REPRESENTATIONS
from experiments.data.sound_sets import Notes, Phrases, piano_roll, pulses, tones
from experiments.data.sounds import log_mel, mel_magnitudes
from experiments.data.symbols import mu_law
from scorekit import audio
from scorekit.audio import representations
from scorekit.networks import Masked


@pytest.fixture(autouse=True)
def small_sets(monkeypatch):
    """Decaying harmonic notes and random phrases in place of rendered ones."""
    t, pitch, rng = np.arange(2048) / RATE, np.array([50, 60, 72, 80]), np.random.default_rng(0)
    f = 440 * 2 ** ((pitch[:, None] - 69) / 12)
    x = 0.4 * sum(0.5**k * np.sin(2 * np.pi * k * f * t) for k in (1, 2)) * np.exp(-3 * t)
    notes = note_set(x, pitch, np.arange(4), np.arange(4) // 2)
    roll = np.zeros((4, 33, 128), np.uint8)
    roll[0, 4:9, 69], roll[0, 6:12, 60], roll[1, :, 84] = 127, 64, 100
    songs = phrase_set(rng.integers(-9000, 9000, (4, 2048)), roll)
    monkeypatch.setattr(sets, "load_notes", lambda *_: notes)
    monkeypatch.setattr(sets, "load_phrases", lambda *_: songs)
    return notes, songs


HERTZ = ("Hz", "1,000", "samples")
LOG = representations.log_magnitudes


@pytest.mark.parametrize(
    ("representation", "described", "frequency"),
    [
        (None, "waveform, 2048 x 1", HERTZ),
        (partial(representations.low_rate, factor=4), "low_rate, 512 x 1", ("Hz", "250", "samples")),
        (representations.compressed, "compressed, 32 x 256", ("cycles per frame", "0.25", "frames")),
        (partial(LOG, by_bins=True), "log_magnitudes by bins, 128 x 32", ("cycles per bin", "0.25", "bins")),
        (partial(LOG, by_frames=True), "log_magnitudes by frames, 32 x 128", ("cycles per frame", "0.25", "frames")),
        (LOG, "log_magnitudes, 32 x 128 x 1", ("cycles per position", "0.25", "positions")),
        (REPRESENTATIONS["controls"], "controls, 32 x 54", ("cycles per frame", "0.25", "frames")),
    ],
)
def test_frequencies_are_in_hertz_along_time_only(representation, described, frequency):
    dataset = Notes(representation=representation)
    axis = dataset.frequency_axis()
    assert dataset.described() == f"0.51 s at 4,000 Hz ({described})"
    assert (axis.unit, axis.show(0.25), axis.positions) == frequency
    assert dataset.inputs(dataset.test).shape == (4, *dataset.shape)


def test_classes_have_names_and_none_is_a_single_one():
    dataset = Notes(label="none")
    assert (dataset.num_classes, dataset.class_names, dataset.labelled, {*dataset.test["label"]}) == (1, (), True, {0})
    assert (Notes().class_names, Notes(label="family").class_names) == (tuple("abcd"), ("even", "odd"))


CONTROLS = partial(REPRESENTATIONS["controls"], bands=9, partials=5)
MAGNITUDES = partial(representations.magnitudes, match_envelope=True)


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (Phrases, {"representation": CONTROLS}, "name=controls: must be another one: phrases has no pitch"),
        (Notes, {"representation": partial(CONTROLS, hop=100)}, "config.data.representation (controls): hop must div"),
        (Notes, {"representation": MAGNITUDES}, "name=magnitudes: must be another one without config.conditions.map"),
        (Phrases, {"crop": 100}, "config.data.crop=100: must be a multiple of 64 up to 2048"),
        (Notes, {"crop": 4096}, "config.data.crop=4096: must be a multiple of 1 up to 2048"),
    ],
)
def test_sounds_that_cannot_be_represented_are_config_errors(kind, arguments, words):
    assert words in error_of(kind, **arguments)


def test_crops_begin_at_frames_of_the_roll(small_sets):
    dataset, (_, full) = Phrases(crop=512), small_sets
    x, begun = full.x.tolist(), []
    for batch in (dataset.batch(0, 0, 8), dataset.batch(0, 1, 8)):
        for sound, roll in zip(batch["x"], batch["roll"], strict=True):
            places = [(i, at) for i in range(4) for at in range(25) if x[i][64 * at : 64 * at + 512] == sound.tolist()]
            ((i, at),) = places
            begun.append(at)
            np.testing.assert_array_equal(roll, full.roll[i, at : at + 9])
    assert begun[:8] != begun[8:]
    np.testing.assert_array_equal(dataset.test["x"], full.x[:, :512])


def test_maps_are_computed_from_the_raw_sounds_and_the_other_fields(small_sets):
    notes, phrases = Notes(), Phrases()
    batch, of_phrases = preprocess(notes, notes.test), preprocess(phrases, phrases.test)
    bank = audio.mel_filter_bank(RATE, 256, num_mels=20, f_min=40.0)
    expected = audio.log_mel(small_sets[0].x / np.float32(32768), bank, audio.hann(256), 64, floor=1e-5)
    np.testing.assert_allclose(3 * log_mel(notes, num_mels=20)(batch) - 6, expected, atol=1e-4)
    expected = audio.harmonic_tones(small_sets[1].roll, 2048, RATE, 2, 50, 70)
    np.testing.assert_array_equal(tones(phrases, count=2, lowest=50, highest=70)(of_phrases), expected)
    np.testing.assert_array_equal(piano_roll(60, 69)(of_phrases)[0, :, 9] == 1, small_sets[1].roll[0, :, 69] == 127)
    expected = audio.pulse_train(small_sets[0].pitch, 2048, RATE)
    np.testing.assert_allclose(pulses(notes)(batch)[..., 0], expected, atol=2**-15)


@pytest.mark.slow
def test_magnitudes_given_the_mel_map_are_inverted(small_sets):
    """The network receives log((|X| + f) / (E + f)); the sounds have nearly the magnitudes of the data."""
    dataset = Notes(representation=MAGNITUDES, mel={})
    assert dataset.shape == (32, 128, 1)
    inputs = preprocess(dataset, dataset.test)
    given = {"dense_map": Masked(mel_magnitudes(dataset)(inputs), np.ones(4, bool))}
    truth = small_sets[0].x / np.float32(32768)
    window, bank = audio.hann(256), audio.mel_filter_bank(RATE, 256, num_mels=40, f_min=40.0)
    size = np.asarray(audio.magnitude(audio.stft(truth, window, 64)))
    envelope = np.asarray(audio.mel_envelope(np.maximum(size @ bank, 1e-5), bank))
    expected = np.log((size + 3e-4) / (envelope + 3e-4))[:, :-1, :-1]
    np.testing.assert_allclose(inputs["x"][..., 0], expected, atol=1e-3)
    back = jax.jit(dataset.from_model)(inputs["x"], given)
    assert back.shape == truth.shape
    again = audio.magnitude(audio.stft(back, window, 64))
    assert float(audio.spectral_convergence(again[:, 3:-3], size[:, 3:-3]).max()) < 0.1
    with pytest.raises(ValueError, match="dense_map must be the images of the mel spectrogram"):
        dataset.from_model(inputs["x"])


def test_peak_normalises_data_and_samples(small_sets):
    """Train, test and real examples are the sounds times a factor each; the loaded set is unchanged."""
    codes = small_sets[0].x.copy()
    dataset = Notes(peak=0.9)
    factor = 0.9 / np.abs(codes / 32768).max(axis=1, keepdims=True)
    for part in (dataset.train, dataset.test):
        np.testing.assert_allclose(dataset.real(part), factor * codes / 32768, atol=1e-4)
    np.testing.assert_allclose(np.abs(dataset.batch(0, 0, 4)["x"]).max(axis=1), 0.9 * 32768, atol=1)
    np.testing.assert_array_equal(small_sets[0].x, codes)
    scaled = dataset.to_model(dataset.test["x"]) * np.array([0.1, 1, 2, 0])[:, None, None]
    drawn = np.asarray(dataset.from_model(scaled))
    np.testing.assert_allclose(drawn[:3], dataset.real(dataset.test)[:3], atol=1e-4)  # louder or softer: the same
    assert not drawn[3].any()
    codes = np.random.default_rng(0).integers(100, 156, (3, 512))
    for peak in (0.5, None):
        decoded = np.abs(mu_law(Phrases(peak=peak), factor=4).decode(codes)).max(axis=1)
        np.testing.assert_allclose(decoded, peak, rtol=1e-5) if peak else np.testing.assert_array_less(decoded, 0.1)


def test_a_set_decodes_sounds_of_another_length():
    dataset = Phrases(crop=1024, representation=REPRESENTATIONS["compressed"])
    longer = dataset.of_length(1536)
    x = np.sin(0.3 * np.arange(1536, dtype=np.float32))[None]
    decoded = longer.to_sound(longer.to_model(audio.float_to_pcm(x)))
    assert decoded.shape == x.shape
    np.testing.assert_allclose(decoded[:, :1300], x[:, :1300], atol=1e-3)  # the last frame is not kept
    assert dataset.to_sound(np.zeros((1, 16, 256), np.float32)).shape == (1, 1024)
