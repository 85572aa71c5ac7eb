"""Sounds as data sets: representations, crops, peaks, and the conditions computed from them."""

from functools import partial

import jax
import numpy as np
import pytest
from parameters import random_params
from programs import changed, error_of
from sound_sets import RATE, phrase_set

from experiments import data as data_sets
from experiments.configs.images import smoke
from experiments.data.builders import sets
from experiments.data.builders.sets import LabelledSounds
from experiments.data.dataset import preprocess
from experiments.data.notes import Notes, pulses
from experiments.data.phrases import Phrases, tones
from experiments.data.representation import REPRESENTATIONS
from experiments.data.sounds import log_mel, mel_magnitudes
from experiments.data.symbols import mu_law
from experiments.models.conditioning import conditions_for
from experiments.tasks.diffusion.build import build_model, make_sampler
from scorekit import audio
from scorekit.audio import representations
from scorekit.networks import Masked


@pytest.fixture(autouse=True)
def small_sets(monkeypatch):
    """Decaying harmonic notes and random phrases in place of rendered ones."""
    rng = np.random.default_rng(0)
    t = np.arange(2048) / RATE
    pitch, velocity = np.array([50, 60, 72, 80], np.int32), np.array([127, 90, 50, 127], np.int32)
    f = 440 * 2 ** ((pitch[:, None] - 69) / 12)
    x = sum(0.5**k * np.sin(2 * np.pi * k * f * t) for k in (1, 2)) * np.exp(-3 * t) * (velocity[:, None] / 127) ** 2
    codes = np.round(0.4 * x * 32768).astype(np.int16)
    instrument = np.arange(4, dtype=np.int32)
    notes = LabelledSounds(x=codes, pitch=pitch, velocity=velocity, instrument=instrument, family=instrument // 2,
                    sample_rate=RATE, instruments=tuple("abcd"), families=("e", "f"), name="notes")  # fmt: skip
    roll = np.zeros((4, 33, 128), np.uint8)
    roll[0, 4:9, 69], roll[0, 6:12, 60], roll[1, :, 84] = 127, 64, 100
    songs = phrase_set(rng.integers(-9000, 9000, (4, 2048)), roll)
    monkeypatch.setattr(sets, "load_notes", lambda *_: notes)
    monkeypatch.setattr(sets, "load_phrases", lambda *_: songs)
    return notes, songs


@pytest.mark.parametrize(
    ("representation", "described", "frequency"),
    [
        (None, "0.51 s at 4,000 Hz (waveform, 2048 x 1)", ("Hz", "1,000", "samples")),
        (
            partial(representations.low_rate, factor=4),
            "0.51 s at 4,000 Hz (low_rate, 512 x 1)",
            ("Hz", "250", "samples"),
        ),
        (
            representations.compressed,
            "0.51 s at 4,000 Hz (compressed, 32 x 256)",
            ("cycles per frame", "0.25", "frames"),
        ),
        (
            partial(representations.log_magnitudes, by_bins=True),
            "0.51 s at 4,000 Hz (log_magnitudes by bins, 128 x 32)",
            ("cycles per bin", "0.25", "bins"),
        ),
        (
            partial(representations.log_magnitudes, by_frames=True),
            "0.51 s at 4,000 Hz (log_magnitudes by frames, 32 x 128)",
            ("cycles per frame", "0.25", "frames"),
        ),
        (
            representations.log_magnitudes,
            "0.51 s at 4,000 Hz (log_magnitudes, 32 x 128 x 1)",
            ("cycles per position", "0.25", "positions"),
        ),
    ],
)
def test_frequencies_are_in_hertz_along_time_only(representation, described, frequency):
    dataset = Notes(representation=representation)
    axis = dataset.frequency_axis()
    assert dataset.described() == described
    assert (axis.unit, axis.show(0.25), axis.positions) == frequency


def test_controls_are_of_sounds_with_their_pitch():
    controls = partial(REPRESENTATIONS["controls"], bands=9, partials=5)
    dataset = Notes(representation=controls)
    assert (dataset.by_pitch, dataset.positions, dataset.axes) == (True, "frame", 1)
    assert dataset.inputs(dataset.test).shape == (4, *dataset.shape)
    assert "low_passed" not in dataset.maps
    words = "config.data.representation.name=controls: must be another one: phrases has no pitch"
    assert words in error_of(Phrases, representation=controls)
    words = "config.data.representation (controls): hop must divide"
    assert words in error_of(Notes, representation=partial(controls, hop=100))


@pytest.mark.parametrize(("kind", "crop", "allowed"), [(Phrases, 100, 64), (Notes, 4096, 1)])
def test_a_crop_is_a_multiple_of_frames_within_the_sound(kind, crop, allowed):
    words = f"config.data.crop={crop}: must be a multiple of {allowed} up to 2048"
    assert words in error_of(kind, crop=crop)


def test_crops_begin_at_frames_of_the_roll(small_sets):
    dataset, (_, full) = Phrases(crop=512), small_sets
    x = full.x.tolist()
    for batch in (dataset.batch(0, 0, 8), dataset.batch(0, 1, 8)):
        for sound, roll in zip(batch["x"], batch["roll"], strict=True):
            places = [(i, at) for i in range(4) for at in range(25) if x[i][64 * at : 64 * at + 512] == sound.tolist()]
            ((i, at),) = places
            np.testing.assert_array_equal(roll, full.roll[i, at : at + 9])
    np.testing.assert_array_equal(dataset.test["x"], full.x[:, :512])


def test_log_mel_is_computed_from_the_raw_sounds(small_sets):
    dataset = Notes()
    found = log_mel(dataset, num_mels=20)(preprocess(dataset, dataset.test))
    bank = audio.mel_filter_bank(RATE, 256, num_mels=20, f_min=40.0)
    expected = audio.log_mel(small_sets[0].x / np.float32(32768), bank, audio.hann(256), 64, floor=1e-5)
    np.testing.assert_allclose(3 * found - 6, expected, atol=1e-4)


@pytest.mark.slow
def test_magnitudes_given_the_mel_map_are_inverted(small_sets):
    """The network receives log((|X| + f) / (E + f)); the sounds have nearly the magnitudes of the data."""
    magnitudes = partial(representations.magnitudes, match_envelope=True)
    words = "config.data.representation.name=magnitudes: must be another one without config.conditions.map"
    assert words in error_of(Notes, representation=magnitudes)
    dataset = Notes(representation=magnitudes, mel={})
    assert dataset.shape == (32, 128, 1)
    inputs = preprocess(dataset, dataset.test)
    given = {"dense_map": Masked(mel_magnitudes(dataset)(inputs), np.ones(4, bool))}
    truth = small_sets[0].x / np.float32(32768)
    window, bank = audio.hann(256), audio.mel_filter_bank(RATE, 256, num_mels=40, f_min=40.0)
    size = np.asarray(audio.magnitude(audio.stft(truth, window, 64)))
    mel = np.maximum(size @ bank, 1e-5)
    envelope = np.asarray(audio.mel_envelope(mel, bank))
    expected = np.log((size + 3e-4) / (envelope + 3e-4))[:, :-1, :-1]
    np.testing.assert_allclose(inputs["x"][..., 0], expected, atol=1e-3)
    dense_map = np.asarray(given["dense_map"].value)
    assert dense_map.shape == (4, 32, 128, 2)
    np.testing.assert_allclose(3 * dense_map[..., 0] - 3, np.log(envelope + 3e-4)[:, :-1, :-1], atol=1e-3)
    nearest = audio.magnitude_from_mel(mel, bank, iterations=50)[:, :-1, :-1]
    np.testing.assert_allclose(np.exp(3 * dense_map[..., 1] - 3) - 3e-4, nearest, rtol=0.01, atol=1e-3)
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


def test_label_none_is_one_class():
    dataset = Notes(label="none")
    assert (dataset.num_classes, dataset.class_names, dataset.labelled) == (1, (), True)
    assert set(dataset.test["label"]) == {0}


def test_instruments_and_families_have_names():
    assert Notes().class_names == tuple("abcd")
    assert Notes(label="family").class_names == ("e", "f")


def test_tones_are_the_partials_of_the_keys_that_are_down():
    dataset = Phrases()
    found = np.asarray(tones(dataset, count=3)(preprocess(dataset, dataset.test)))
    assert found.shape == (4, 2048, 6)
    t = np.arange(2048) / RATE
    frame = np.arange(2048) // 64
    for pitch, level, first, last in ((69, 1.0, 4, 6), (60, 64 / 127, 9, 12)):  # alone in these frames
        f, at = 440 * 2 ** ((pitch - 69) / 12), (frame >= first) & (frame < last)
        for k in range(3):
            np.testing.assert_allclose(found[0, at, 2 * k], level * np.sin(2 * np.pi * (k + 1) * f * t[at]), atol=1e-3)
            cosine = level * np.cos(2 * np.pi * (k + 1) * f * t[at])
            np.testing.assert_allclose(found[0, at, 2 * k + 1], cosine, atol=1e-3)
    both, f = (frame >= 6) & (frame < 9), 440 * 2 ** (-9 / 12)
    expected = np.sin(2 * np.pi * 440 * t[both]) + 64 / 127 * np.sin(2 * np.pi * f * t[both])
    np.testing.assert_allclose(found[0, both, 0], expected, atol=1e-3)
    assert np.all(found[0, frame >= 12] == 0)
    assert np.all(found[1, :, 2:] == 0)  # 1046 Hz: its second partial is above 2 kHz
    assert np.abs(found[1, :, 0]).max() > 0.7


def test_pulses_are_the_sum_of_all_partials_in_the_representation(small_sets):
    dataset = Notes()
    pitch = np.array([36, 69, 84, 83])
    found = jax.jit(pulses(dataset))({"pitch": pitch, "raw": np.zeros((4, 2048), np.int16)})[..., 0]
    f = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    n = np.arange(2048) / RATE
    for row, fundamental in zip(np.asarray(found), f, strict=True):
        partials = np.arange(1, 100)[np.arange(1, 100) * fundamental < RATE / 2]
        expected = sum(np.cos(2 * np.pi * k * fundamental * n) for k in partials) / 32
        np.testing.assert_allclose(row, expected, atol=2e-3)


@pytest.mark.slow
def test_samples_given_labels_have_the_conditions_of_held_out_examples():
    config = changed(smoke, "data.name=notes", "conditions.map.name=log_mel", "data.label=none")
    config.network.update(patch=16, multipliers=(1,), attention_resolutions=())
    dataset = data_sets.build(config)
    model = build_model(config, dataset)
    generate = make_sampler(config, model, dataset)
    params, labels = random_params(model), np.zeros(3, np.int32)
    named = conditions_for(model, dataset, labels)
    drawn = generate(params, 0, labels, 1.0)
    assert drawn.shape == (3, 2048)
    np.testing.assert_array_equal(drawn, generate(params, 0, named, 1.0))
    other = {**named, "dense_map": Masked(named["dense_map"].value[::-1], named["dense_map"].present)}
    assert np.abs(drawn - generate(params, 0, other, 1.0)).max() > 1e-3


@pytest.mark.parametrize("peak", [0.5, None])
def test_decoded_codes_have_the_peak_of_the_config(peak):
    codes = np.random.default_rng(0).integers(100, 156, (3, 512))
    found = np.abs(mu_law(Phrases(peak=peak), factor=4).decode(codes)).max(axis=1)
    np.testing.assert_allclose(found, peak, rtol=1e-5) if peak else np.testing.assert_array_less(found, 0.1)


def test_a_set_decodes_sounds_of_another_length():
    dataset = Phrases(crop=1024, representation=REPRESENTATIONS["compressed"])
    longer = dataset.of_length(1536)
    x = np.sin(0.3 * np.arange(1536, dtype=np.float32))[None]
    found = longer.to_sound(longer.to_model(audio.float_to_pcm(x)))
    assert found.shape == x.shape
    np.testing.assert_allclose(found[:, :1300], x[:, :1300], atol=1e-3)  # the last frame is not kept
    assert dataset.to_sound(np.zeros((1, 16, 256), np.float32)).shape == (1, 1024)
