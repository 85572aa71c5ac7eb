"""Log-mel features against the spectrogram and the inverses that they are made of."""

import numpy as np

from scorekit import audio

RATE = 4000
x = (0.4 * np.random.default_rng(0).standard_normal((2, 2048)) * np.geomspace(1, 0.01, 2048)).astype(np.float32)


def test_encode_scales_the_log_mel_spectrogram_and_mel_inverts_it():
    features = audio.make_log_mel(RATE, num_mels=20)
    encoded = features.encode(x)
    bank = audio.mel_filter_bank(RATE, 256, num_mels=20, f_min=40.0)
    expected = audio.log_mel(x, bank, audio.hann(256), 64, floor=1e-5)
    np.testing.assert_allclose(3 * encoded - 6, expected, atol=1e-4)
    np.testing.assert_allclose(features.mel(encoded), np.exp(expected), rtol=1e-3)


def test_images_hold_the_envelope_and_the_least_squares_magnitudes():
    features = audio.make_log_mel(RATE)
    encoded = features.encode(x)
    images = np.asarray(features.images(encoded))
    assert images.shape == (2, 32, 128, 2)
    mel = audio.mel_spectrogram(x, features.bank, features.window, features.hop).clip(1e-5)
    envelope = audio.mel_envelope(mel, features.bank)[:, :-1, :-1]
    np.testing.assert_allclose(features.envelope(encoded), envelope, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(3 * images[..., 0] - 3, np.log(envelope + 3e-4), atol=1e-3)
    np.testing.assert_allclose(features.log_envelope(images), np.log(envelope + 3e-4), atol=1e-3)
    nearest = audio.magnitude_from_mel(mel, features.bank, iterations=50)[:, :-1, :-1]
    np.testing.assert_allclose(np.exp(3 * images[..., 1] - 3) - 3e-4, nearest, rtol=0.01, atol=1e-3)
