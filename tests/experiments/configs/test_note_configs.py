"""The task of notes: the form and the map of its config against sums by hand, and the program that judges a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from experiments.cli.config import ConfigError
from experiments.configs.notes import notes, notes_complex, notes_gpu, notes_spectrogram
from experiments.data import conditions
from experiments.data import representation as forms
from experiments.data.conditions import dropout_rates
from experiments.data.dataset import load_dataset
from experiments.models import model
from scorekit import audio, data
from scorekit.data.sounds import NoteSet

RATE = 4000
compressed = forms.compressed(2048)
there, back = jax.jit(compressed.to_model), jax.jit(lambda x: compressed.to_sound(x, None))


def test_the_compressed_form_comes_back():
    x = 0.2 * np.random.default_rng(0).standard_normal((2, 2048)).astype(np.float32)
    x[:, 1024:] *= 0.001
    seen = there(x)
    assert seen.shape == (2, 32, 256)
    smooth = audio.istft(audio.stft(x, audio.hann(256), 64).at[..., -1].set(0), audio.hann(256), 64, 2048)
    np.testing.assert_allclose(back(seen)[:, :-128], smooth[:, :-128], atol=2e-5)  # all but the bin of half the rate


def test_its_magnitudes_are_roots_and_its_noise_is_squared():
    x = 0.2 * np.random.default_rng(0).standard_normal((1, 2048)).astype(np.float32)
    np.testing.assert_allclose(there(4 * x), 2 * there(x), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(back(2 * there(x)), 4 * back(there(x)), rtol=1e-3, atol=1e-4)
    real, imaginary = jnp.split(there(x)[0, 10], 2)
    spectrum = audio.stft(x, audio.hann(256), 64)[0, 10, :-1]
    np.testing.assert_allclose(jnp.hypot(real, imaginary), 1.2 * jnp.sqrt(jnp.abs(spectrum)), rtol=1e-3)


def test_a_partial_turns_by_its_distance_from_the_centre_of_the_bin():
    f = 20.25 * RATE / 256
    seen = there(np.sin(2 * np.pi * f / RATE * np.arange(2048))[None].astype(np.float32))[0]
    phase = np.unwrap(np.angle(seen[4:28, 20] + 1j * seen[4:28, 148]))
    np.testing.assert_allclose(np.diff(phase), 2 * np.pi * 0.25 * 64 / 256, atol=0.01)


def test_log_magnitudes_come_back_but_for_the_phases():
    n = np.arange(2048) / RATE
    x = (0.5 * np.sin(2 * np.pi * 440 * n) + 0.005 * np.sin(2 * np.pi * 1320 * n))[None].astype(np.float32)
    form = forms.log_magnitudes(2048)
    seen = np.asarray(form.to_model(x))
    size = np.abs(np.asarray(audio.stft(x, audio.hann(256), 64)))[:, :-1, :-1]
    np.testing.assert_allclose(seen[..., 0], (np.log(size + 1e-2) + 3) / 1.8, atol=1e-4)
    again = np.asarray(form.to_model(jax.jit(form.to_sound)(seen, None)))
    assert np.abs(again - seen)[0, 4:-4, [28, 84]].max() < 0.05  # both partials, 40 dB apart, within a tenth of a neper
    struck = np.asarray(form.to_model((x * np.exp(-3 * n) * (n >= 0.256)).astype(np.float32)))
    again = np.asarray(form.to_model(jax.jit(form.to_sound)(struck, None)))
    assert np.abs(again - struck)[0, :, 28].max() < 1  # it begins in the frame where it began
    assert not np.any(form.to_sound(form.to_model(np.zeros((1, 2048), np.float32)), None))


@pytest.mark.parametrize(("make", "channels"), [(forms.log_magnitudes, 1), (forms.spectrogram, 2)])
def test_an_image_of_frames_and_bins_is_a_signal_of_bins(make, channels):
    x = np.random.default_rng(0).normal(scale=0.1, size=(2, 1024)).astype(np.float32)
    image, signal = make(1024), make(1024, by_bins=True)
    seen = np.asarray(signal.to_model(x))
    assert seen.shape == (2, 128, 16 * channels)
    by_hand = np.asarray(image.to_model(x))
    for frame, channel in ((0, 0), (3, channels - 1), (15, 0)):
        np.testing.assert_array_equal(seen[:, :, frame * channels + channel], by_hand[:, frame, :, channel])
    np.testing.assert_allclose(signal.to_sound(seen, None), image.to_sound(by_hand, None), atol=1e-5)


def test_emphasis_gives_the_cosines_of_the_course_of_each_bin():
    x = np.random.default_rng(0).normal(scale=0.1, size=(2, 1024)).astype(np.float32)
    plain, signal = forms.log_magnitudes(1024, by_bins=True), forms.log_magnitudes(1024, by_bins=True, emphasis=0.5)
    course = np.asarray(plain.to_model(x))
    seen = np.asarray(signal.to_model(x))
    np.testing.assert_allclose(seen, scipy.fft.dct(course, norm="ortho") * np.sqrt(np.arange(1, 17)), atol=1e-4)
    np.testing.assert_allclose(signal.to_sound(seen, None), plain.to_sound(course, None), atol=1e-4)


def test_other_sizes_and_powers_are_refused():
    with pytest.raises(ValueError, match=r"emphasis must be left out without by_bins, got 0\.5"):
        forms.log_magnitudes(1024, emphasis=0.5)
    with pytest.raises(ValueError, match="hop must divide the 2047 samples"):
        forms.compressed(2047)
    with pytest.raises(ValueError, match="fft_size be even, got 64 and 255"):
        forms.log_magnitudes(2048, fft_size=255)
    with pytest.raises(ValueError, match=r"power must be in \(0, 1\], got 0"):
        forms.compressed(2048, power=0.0)


def test_pulses_are_the_sum_of_all_partials_in_the_form_of_the_network():
    told = conditions.pulses(RATE, lambda codes: audio.pcm_to_float(codes)[..., None])
    pitch = np.array([36, 69, 84, 83])
    found = jax.jit(told)({"pitch": pitch, "stored": np.zeros((4, 2048), np.int16)})[..., 0]
    f = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    n = np.arange(2048) / RATE
    for row, fundamental in zip(np.asarray(found), f, strict=True):
        partials = np.arange(1, 100)[np.arange(1, 100) * fundamental < RATE / 2]
        expected = sum(np.cos(2 * np.pi * k * fundamental * n) for k in partials) / 32
        np.testing.assert_allclose(row, expected, atol=2e-3)


def test_pulses_are_refused_for_what_has_no_sound():
    with pytest.raises(ValueError, match="which has no sound, got pulses"):
        conditions.pulses(None, lambda x: x)


def test_what_a_note_is_for_people(load_program):
    evaluate_notes = load_program("experiments.audio.evaluate_notes")
    test = {"pitch": np.array([60, 61]), "velocity": np.array([90, 50]), "instrument": np.array([1, 0])}
    assert evaluate_notes.describe(0, test, ("Piano", "Flute")) == "Flute, C4, velocity 90"
    assert evaluate_notes.describe(1, test, ("Piano", "Flute")) == "Piano, C♯4, velocity 50"


def test_scales_are_numbers_from_zero(load_program):
    evaluate_notes = load_program("experiments.audio.evaluate_notes")
    assert evaluate_notes.guidance_scales(["0", "1.5"]) == [0.0, 1.5]
    for given in (["-1"], ["1", "nan"], ["many"], []):
        with pytest.raises(ConfigError, match=r"--scales=.*: must be numbers from 0, as in 1,2"):
            evaluate_notes.guidance_scales(given)


@pytest.fixture
def a_few_notes(monkeypatch):
    """Tones in place of rendered notes, at the rate that a name says."""

    def load(name, *_):
        rate = 1000 * int(name.split("/")[1].removesuffix("khz"))
        pitch, place = np.array([40, 60, 72, 84], np.int32), np.arange(4, dtype=np.int32)
        n = np.arange(rate // 1000 * 1024)
        x = 0.5 * np.sin(2 * np.pi * 440 / rate * 2 ** ((pitch[:, None] - 69) / 12) * n)
        return NoteSet(x=np.round(32767 * x).astype(np.int16), pitch=pitch, velocity=np.full(4, 90, np.int32),
                       instrument=place, family=place // 2, instruments=tuple("abcd"), families=("e", "f"),
                       sample_rate=rate, name=name)  # fmt: skip

    monkeypatch.setattr(data, "load_notes", load)


def loss_of(config, run):
    """One batch through the network of a config, by ``run`` of a function and its arguments."""
    config.training.batch_size = 4
    config.training.warmup_steps = 1
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    prepare = model.make_prepare(built, dataset, dropout_rates(config), config.loss.joint_dropout)

    def loss(key, batch):
        params = built.module.init(key, jnp.zeros((1, *built.shape)), jnp.zeros(1), jnp.zeros(1, jnp.int32))
        return model.make_loss(built)(params, prepare(key, batch))[0]

    return dataset, run(loss, jax.random.key(0), dataset.batch(0, 0, 4))


@pytest.mark.parametrize(("start", "shape"), [(notes, (128, 64)), (notes_gpu, (512, 64)),
                                              (notes_complex, (64, 256)),
                                              (notes_spectrogram, (128, 128))])  # fmt: skip
def test_a_config_can_be_trained(a_few_notes, load_program, start, shape):
    load_program("experiments.train").check(start.get_config())
    dataset, loss = loss_of(start.get_config(), jax.eval_shape)
    assert dataset.shape == shape
    assert loss.shape == (4,)


@pytest.mark.slow
@pytest.mark.parametrize("start", [notes, notes_complex, notes_gpu, notes_spectrogram])
def test_a_small_network_of_a_config_has_a_loss(a_few_notes, start):
    config = start.get_config()
    config.network.channels = 8
    config.network.heads = 1
    config.network.blocks = 1
    _, loss = loss_of(config, jax.jit(lambda f, *rest: f(*rest), static_argnums=0))
    assert np.all(np.isfinite(loss))
