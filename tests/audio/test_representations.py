"""Representations of sounds: round trips, equivariances, and values against the transforms that they are made of."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from scorekit import audio
from scorekit.audio import representations

RATE = 4000
compressed = representations.compressed(2048)
encode, decode = jax.jit(compressed.encode), jax.jit(compressed.decode)
noise = 0.2 * np.random.default_rng(0).standard_normal((2, 2048)).astype(np.float32)


@pytest.mark.slow
def test_compressed_round_trip():
    x = noise.copy()
    x[:, 1024:] *= 0.001
    encoded = encode(x)
    assert encoded.shape == (2, 32, 256)
    without_nyquist = audio.istft(audio.stft(x, audio.hann(256), 64).at[..., -1].set(0), audio.hann(256), 64, 2048)
    np.testing.assert_allclose(decode(encoded)[:, :-128], without_nyquist[:, :-128], atol=2e-5)


def test_compressed_magnitudes_are_square_roots():
    encoded = encode(noise)
    np.testing.assert_allclose(encode(4 * noise), 2 * encoded, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(decode(2 * encoded), 4 * decode(encoded), rtol=1e-3, atol=1e-4)
    real, imaginary = jnp.split(encoded[0, 10], 2)
    spectrum = audio.stft(noise, audio.hann(256), 64)[0, 10, :-1]
    np.testing.assert_allclose(jnp.hypot(real, imaginary), 1.2 * jnp.sqrt(jnp.abs(spectrum)), rtol=1e-3)


def test_compressed_phase_rotates_by_the_offset_from_the_bin_centre():
    f = 20.25 * RATE / 256
    sine = np.sin(2 * np.pi * f / RATE * np.arange(2048)).astype(np.float32)
    encoded = encode(np.stack([sine, sine]))[0]
    phase = np.unwrap(np.angle(encoded[4:28, 20] + 1j * encoded[4:28, 148]))
    np.testing.assert_allclose(np.diff(phase), 2 * np.pi * 0.25 * 64 / 256, atol=0.01)


@pytest.mark.slow
def test_log_magnitudes_round_trip_up_to_phases():
    n = np.arange(2048) / RATE
    x = (0.5 * np.sin(2 * np.pi * 440 * n) + 0.005 * np.sin(2 * np.pi * 1320 * n)).astype(np.float32)
    delayed = (x * np.exp(-3 * n) * (n >= 0.256)).astype(np.float32)
    sounds = np.stack([x, delayed, np.zeros_like(x)])
    representation = representations.log_magnitudes(2048)
    encoded = np.asarray(representation.encode(sounds))
    size = np.abs(np.asarray(audio.stft(sounds, audio.hann(256), 64)))[:, :-1, :-1]
    np.testing.assert_allclose(encoded[..., 0], (np.log(size + 1e-2) + 3) / 1.8, atol=1e-4)
    decoded = jax.jit(representation.decode)(encoded)
    error = np.abs(np.asarray(representation.encode(decoded)) - encoded)[..., 0]
    assert error[0, 4:-4, [28, 84]].max() < 0.05  # both partials, 40 dB apart, within a tenth of a neper
    assert error[1, :, 28].max() < 1  # the onset stays in its frame
    assert not np.any(decoded[2])


def round_trip(*several):
    """Encoded and decoded sounds of some representations, in one program."""

    @jax.jit
    def run(x):
        encoded = [representation.encode(x) for representation in several]
        return encoded, [representation.decode(x) for representation, x in zip(several, encoded, strict=True)]

    return jax.tree.map(np.asarray, run(noise[:, :1024]))


@pytest.mark.parametrize(
    ("make", "channels"),
    [(partial(representations.log_magnitudes, iterations=5), 1), (representations.spectrogram, 2)],
    ids=["log_magnitudes", "spectrogram"],
)
def test_by_bins_transposes_the_image(make, channels):
    (encoded, expected), decoded = round_trip(make(1024, by_bins=True), make(1024))
    assert encoded.shape == (2, 128, 16 * channels)
    for frame, channel in ((0, 0), (3, channels - 1), (15, 0)):
        np.testing.assert_allclose(
            encoded[:, :, frame * channels + channel], expected[:, frame, :, channel], rtol=1e-6, atol=1e-6
        )
    np.testing.assert_allclose(*decoded, atol=1e-5)


def test_by_frames_is_the_image_without_its_channel():
    make = partial(representations.log_magnitudes, 1024, iterations=5)
    (encoded, expected), decoded = round_trip(make(by_frames=True), make())
    assert encoded.shape == (2, 16, 128)
    np.testing.assert_allclose(encoded, expected[..., 0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(*decoded, atol=1e-5)


def test_dct_power_weights_the_dct_of_temporal_envelopes():
    plain = partial(representations.log_magnitudes, 1024, iterations=5, by_bins=True)
    (envelopes, encoded), decoded = round_trip(plain(), plain(dct_power=0.5))
    expected = scipy.fft.dct(envelopes, norm="ortho") * np.sqrt(np.arange(1, 17))
    np.testing.assert_allclose(encoded, expected, atol=1e-4)
    np.testing.assert_allclose(*decoded, atol=1e-4)


@pytest.mark.slow
def test_magnitudes_are_relative_to_the_mel_envelope():
    n, pitch = np.arange(2048) / RATE, np.array([50, 60, 72, 80])
    f = 440 * 2 ** ((pitch[:, None] - 69) / 12)
    truth = 0.4 * sum(0.5**k * np.sin(2 * np.pi * k * f * n) for k in (1, 2)) * np.exp(-3 * n)
    truth = (truth * np.array([1.0, 0.5, 0.15, 1.0])[:, None]).astype(np.float32)
    mel = audio.make_log_mel(RATE)
    representation = representations.magnitudes(mel)
    encoded, dense_map = representation.encode(truth), mel.images(mel.encode(truth))
    assert encoded.shape == (4, 32, 128, 1)
    window, bank = audio.hann(256), audio.mel_filter_bank(RATE, 256, num_mels=40, f_min=40.0)
    size = np.asarray(audio.magnitude(audio.stft(truth, window, 64)))
    envelope = np.asarray(audio.mel_envelope(np.maximum(size @ bank, 1e-5), bank))
    expected = np.log((size + 3e-4) / (envelope + 3e-4))[:, :-1, :-1]
    np.testing.assert_allclose(encoded[..., 0], expected, atol=1e-3)
    decoded = jax.jit(representation.decode)(encoded, dense_map)
    assert decoded.shape == truth.shape
    again = audio.magnitude(audio.stft(decoded, window, 64))
    assert float(audio.spectral_convergence(again[:, 3:-3], size[:, 3:-3]).max()) < 0.1
    matched = jax.jit(representations.magnitudes(mel, match_envelope=True).decode)(encoded + 0.7, dense_map)
    again = audio.magnitude(audio.stft(matched, window, 64))  # an offset does not change the sound, but for f
    assert float(audio.spectral_convergence(again[:, 3:-3], size[:, 3:-3]).max()) < 0.12
    with pytest.raises(ValueError, match=r"dense_map must be the images of the mel spectrogram .*, got None"):
        representation.decode(encoded)


def test_waveform_and_low_rate_round_trips():
    n = np.arange(2048) / RATE
    x = np.sin(2 * np.pi * np.array([[62.5], [250.0]]) * n).astype(np.float32)
    full, low = representations.waveform(5.0), representations.low_rate(2048, 4, 2.0)
    np.testing.assert_allclose(full.encode(x)[..., 0], 5 * x)
    np.testing.assert_allclose(full.decode(full.encode(x)), x, rtol=1e-6)
    assert low.encode(x).shape == (2, 512, 1)
    np.testing.assert_allclose(low.encode(x)[..., 0], 2 * x[:, ::4], atol=1e-4)
    np.testing.assert_allclose(low.decode(low.encode(x)), x, atol=1e-4)
    encoded, decoded = low.encode(noise), low.decode(low.encode(noise))
    np.testing.assert_allclose(decoded, audio.high_rate(audio.low_rate(noise, 4), 4), atol=1e-5)
    np.testing.assert_allclose(low.encode(decoded), encoded, atol=1e-5)


def test_spectrogram_images_show_decibels_from_low_to_high_frequencies():
    x = np.sin(2 * np.pi * np.array([[250.0], [1500.0]]) / RATE * np.arange(2048))
    images = audio.spectrogram_images(x)
    assert images.shape == (2, 65, 65, 1)
    rows = images[:, :, 32, 0].argmax(axis=1)
    np.testing.assert_array_equal(rows, [64 - 250 * 128 // RATE, 64 - 1500 * 128 // RATE])
    np.testing.assert_allclose(images[:, :, 32].max(axis=(1, 2)), 1, atol=0.01)  # amplitude 1 is white
    assert images[0, 0, 32, 0] == -1  # 80 dB below is black
