"""Sounds as data sets: what networks see of them and are told, and the way back to sound."""

import jax
import numpy as np
import pytest

from experiments import mels
from experiments.cli.command_line import override
from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.configs.images import smoke
from experiments.configs.notes import vocoder
from experiments.configs.phrases import phrases
from experiments.data import conditions
from experiments.data.dataset import load_dataset, preprocess
from experiments.models import model
from experiments.models.runs import Experiment
from scorekit import audio, data
from scorekit.data.sounds import NoteSet, PhraseSet
from scorekit.networks import Masked

RATE = 4000


@pytest.fixture(autouse=True)
def small_sets(monkeypatch):
    """Decaying harmonic notes and random phrases in place of rendered ones."""
    rng = np.random.default_rng(0)
    t = np.arange(2048) / RATE
    pitch, velocity = np.array([50, 60, 72, 80], np.int32), np.array([127, 90, 50, 127], np.int32)
    f = 440 * 2 ** ((pitch[:, None] - 69) / 12)
    x = sum(0.5**k * np.sin(2 * np.pi * k * f * t) for k in (1, 2)) * np.exp(-3 * t) * (velocity[:, None] / 127) ** 2
    codes = np.round(0.4 * x * 32768).astype(np.int16)
    place = np.arange(4, dtype=np.int32)
    notes = NoteSet(x=codes, pitch=pitch, velocity=velocity, instrument=place, family=place // 2, sample_rate=RATE,
                    instruments=tuple("abcd"), families=("e", "f"), name="notes")  # fmt: skip
    roll = np.zeros((4, 33, 128), np.uint8)
    roll[0, 4:9, 69], roll[0, 6:12, 60], roll[1, :, 84] = 127, 64, 100
    songs = PhraseSet(x=rng.integers(-9000, 9000, (4, 2048)).astype(np.int16), roll=roll, instrument=place,
                      sample_rate=RATE, frame_rate=62.5, name="phrases")  # fmt: skip
    monkeypatch.setattr(data, "load_notes", lambda *_: notes)
    monkeypatch.setattr(data, "load_phrases", lambda *_: songs)
    return notes, songs


def config_of(start, **fields):
    config = start.get_config()
    for field, text in fields.items():
        override(config, field.replace("__", "."), text)
    return config


def test_a_network_is_told_the_log_mel_of_what_is_stored(small_sets):
    config = config_of(base, data__name="soundfont_notes/4khz", data__map__name="log_mel", data__map__num_mels="20")
    dataset = load_dataset(config)
    told = conditions.build_conditions(config, dataset)["dense_map"](preprocess(dataset, dataset.test))
    bank = audio.mel_filter_bank(RATE, 256, num_mels=20, f_min=40.0)
    expected = audio.log_mel(small_sets[0].x / np.float32(32768), bank, audio.hann(256), 64, floor=1e-5)
    np.testing.assert_allclose(3 * told - 6, expected, atol=1e-4)
    np.testing.assert_allclose(mels.log_mel(RATE, num_mels=20).mel(told), np.exp(expected), rtol=1e-3)


def test_magnitudes_beside_the_mel_come_back(small_sets):
    """What the network sees is log((|X| + f) / (E + f)), and its sounds have nearly the magnitudes of the data."""
    config = config_of(vocoder, data__crop="2048")
    dataset = load_dataset(config)
    assert dataset.shape == (32, 128, 1)
    seen = preprocess(dataset, dataset.test)
    given = model.conditions(model.build_model(config, dataset), seen)
    truth = small_sets[0].x / np.float32(32768)
    window, bank = audio.hann(256), audio.mel_filter_bank(RATE, 256, num_mels=40, f_min=40.0)
    size = np.asarray(audio.magnitude(audio.stft(truth, window, 64)))
    mel = np.maximum(size @ bank, 1e-5)
    level = np.asarray(audio.mel_envelope(mel, bank))
    expected = np.log((size + 3e-4) / (level + 3e-4))[:, :-1, :-1]
    np.testing.assert_allclose(seen["x"][..., 0], expected, atol=1e-3)
    told = np.asarray(given["dense_map"].value)
    assert told.shape == (4, 32, 128, 2)
    np.testing.assert_allclose(3 * told[..., 0] - 3, np.log(level + 3e-4)[:, :-1, :-1], atol=1e-3)
    nearest = audio.magnitude_from_mel(mel, bank, iterations=50)[:, :-1, :-1]
    np.testing.assert_allclose(np.exp(3 * told[..., 1] - 3) - 3e-4, nearest, rtol=0.01, atol=1e-3)
    back = dataset.from_model(seen["x"], given)
    assert back.shape == truth.shape
    again = audio.magnitude(audio.stft(back, window, 64))
    assert float(audio.spectral_convergence(again[:, 3:-3], size[:, 3:-3]).max()) < 0.1
    with pytest.raises(ValueError, match="given must hold the dense_map"):
        dataset.from_model(seen["x"])


def test_sounds_of_one_peak(small_sets):
    """Train, test and what counts as real are the sounds times a factor each; the stored set stays as it is."""
    codes = small_sets[0].x.copy()
    dataset = load_dataset(config_of(base, data__name="soundfont_notes/4khz", data__peak="0.9"))
    factor = 0.9 / np.abs(codes / 32768).max(axis=1, keepdims=True)
    for part in (dataset.train, dataset.test):
        np.testing.assert_allclose(dataset.real(part), factor * codes / 32768, atol=1e-4)
    np.testing.assert_allclose(np.abs(dataset.batch(0, 0, 4)["x"]).max(axis=1), 0.9 * 32768, atol=1)
    np.testing.assert_array_equal(small_sets[0].x, codes)
    drawn = np.asarray(
        dataset.from_model(dataset.to_model(dataset.test["x"]) * np.array([0.1, 1, 2, 0])[:, None, None])
    )
    np.testing.assert_allclose(drawn[:3], dataset.real(dataset.test)[:3], atol=1e-4)  # louder or softer: the same
    assert not drawn[3].any()
    for wrong in ("0", "1.5"):
        with pytest.raises(ConfigError, match=r"config.data.peak=.*: must be above 0 and at most 1"):
            load_dataset(config_of(base, data__name="soundfont_notes/4khz", data__peak=wrong))


def test_magnitudes_need_the_mel():
    with pytest.raises(ConfigError, match=r"data.form .*data.map.name mel_magnitudes, got magnitudes"):
        load_dataset(config_of(vocoder, data__map__name="none", data__crop="2048"))


def test_one_class_for_all():
    dataset = load_dataset(config_of(vocoder, data__crop="2048"))
    assert dataset.num_classes == 1
    assert set(dataset.test["label"]) == {0}
    with pytest.raises(ConfigError, match="must be one of instrument, none"):
        load_dataset(config_of(phrases, data__label="family", data__crop="2048"))


def test_tones_are_the_partials_of_the_keys_that_are_down(small_sets):
    dataset = load_dataset(config_of(phrases, data__crop="2048"))
    found = np.asarray(conditions.tones(RATE, count=3)(preprocess(dataset, dataset.test)))
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


def test_tones_are_refused_for_what_has_no_sound():
    with pytest.raises(ValueError, match="which has no sound, got tones"):
        conditions.tones(None)


def test_samples_of_conditions_by_name_are_those_of_held_out_examples():
    config = config_of(smoke, data__name="soundfont_notes/4khz", data__map__name="log_mel", data__label="none")
    override(config, "network.patch", "16")
    override(config, "network.factors", "(4,)")
    override(config, "sampling.steps", "2")
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    generate = model.make_sampler(config, built, dataset)
    params = jax.tree.map(lambda leaf: leaf + 0.01, model.init_params(built, jax.random.key(0)))
    labels = np.zeros(3, np.int32)
    named = model.conditions_for(built, dataset, labels)
    drawn = generate(params, 0, labels, 1.0)
    assert drawn.shape == (3, 2048)
    np.testing.assert_array_equal(drawn, generate(params, 0, named, 1.0))
    other = {**named, "dense_map": Masked(named["dense_map"].value[::-1], named["dense_map"].present)}
    assert np.abs(drawn - generate(params, 0, other, 1.0)).max() > 1e-3


def test_a_performance_is_as_long_as_its_roll_and_windows_hear_each_other(load_program):
    """The roll after a second decides what separate windows play there, and with overlap what comes before it too."""
    perform = load_program("experiments.audio.perform").perform
    config = config_of(phrases, data__crop="1024", network__channels="8", network__multipliers="(1, 2)")
    override(config, "network.factors", "(4,)")
    override(config, "sampling.steps", "2")
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    params = jax.tree.map(lambda leaf: leaf + 0.02, model.init_params(built, jax.random.key(0)))
    run = Experiment(dataset, built, model.make_sampler(config, built, dataset), params, 0, model.NO_EXTRAS)
    rolls = np.zeros((2, 41, 128), np.uint8)  # 2,560 samples: a window and a half more
    rolls[1, 32:, 60] = 127
    programs = np.array([1, 1], np.int32)
    apart, blended = (perform(config, run, rolls, programs, hop, seed=0) for hop in (1024, 512))
    assert apart.shape == blended.shape == (2, 2560)
    same = np.stack([perform(config, run, rolls[[i, i]], programs, 1024, seed=0)[0] for i in (0, 1)])
    np.testing.assert_array_equal(same[0, :2048], same[1, :2048])
    assert np.any(same[0, 2048:] != same[1, 2048:])
    heard = np.stack([perform(config, run, rolls[[i, i]], programs, 512, seed=0)[0] for i in (0, 1)])
    np.testing.assert_array_equal(heard[0, :1024], heard[1, :1024])  # no window with the note reaches so far
    assert np.any(heard[0, 1536:2048] != heard[1, 1536:2048])
