"""The short-time Fourier transform against its defining sum, librosa, and its inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.audio import (
    frame,
    from_polar,
    hann,
    istft,
    magnitude,
    num_frames,
    overlap_add,
    phase,
    randomise_phase,
    stft,
)

analyse = jax.jit(stft, static_argnames="hop")


def signal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_stft_matches_the_defining_sum():
    length, size, hop = 23, 8, 3
    x, window = np.asarray(signal(length)), np.arange(1.0, 9.0)
    at = lambda i: x[i] if 0 <= i < length else 0.0
    n = np.arange(size)
    naive = [
        [np.sum([window[i] * at(m * hop - 4 + i) * np.exp(-2j * np.pi * i * k / size) for i in n]) for k in range(5)]
        for m in range(1 + -(-length // hop))
    ]
    np.testing.assert_allclose(analyse(x, window, hop), naive, atol=2e-5)


@pytest.mark.parametrize(
    ("length", "size", "hop", "window_length"),
    [
        *((1000, 256, 64, 256), (997, 256, 100, 256), (64, 256, 90, 256), (1, 8, 3, 8), (501, 255, 85, 255)),
        *((1000, 256, 230, 256), (1003, 512, 60, 240), (300, 16, 16, 16), (40, 8, 1, 8)),
    ],
)
def test_istft_is_the_exact_inverse(length, size, hop, window_length):
    window = hann(window_length, size) if hop < window_length else np.ones(size)
    x = signal(2, length)

    @jax.jit
    def there_and_back(x):
        spectrum = stft(x, window, hop)
        return spectrum, istft(spectrum, window, hop, length)

    spectrum, back = there_and_back(x)
    assert spectrum.shape == (2, num_frames(length, hop), size // 2 + 1)
    assert back.shape == x.shape
    largest_gain = 1.0 if hop <= window_length / 2 else 20.0  # rounding grows where windows barely meet
    np.testing.assert_allclose(back, x, atol=2e-6 * largest_gain)


def test_istft_is_the_least_squares_signal():
    """Least squares over both halves of the spectrum, solved naively for a short signal."""
    length, size, hop = 11, 6, 2
    window = hann(size) + 0.1
    frames = num_frames(length, hop)
    real, imaginary = np.asarray(signal(2, frames, 4))
    spectrum = real + 1j * imaginary
    spectrum[:, [0, 3]] = spectrum[:, [0, 3]].real  # as the ends of a real signal's spectrum are
    columns = np.asarray(analyse(np.eye(length), window, hop))
    weights = np.sqrt([1.0, 2.0, 2.0, 1.0])  # inner bins occur twice in the two-sided spectrum
    parts = lambda s: np.concatenate([(s * weights).real.ravel(), (s * weights).imag.ravel()])
    nearest = np.linalg.lstsq(np.stack([parts(c) for c in columns], axis=1), parts(spectrum), rcond=None)[0]
    ours = jax.jit(lambda spectrum: istft(spectrum, window, hop, length))(spectrum)
    np.testing.assert_allclose(ours, nearest, atol=1e-5)


def test_bfloat16_and_batches():
    x = signal(3, 2, 400)
    batched = np.asarray(analyse(x, hann(64), 16))
    np.testing.assert_allclose(batched[1, 1], analyse(x[1, 1], hann(64), 16), atol=1e-5)
    assert jax.eval_shape(analyse, jnp.zeros((2, 400), jnp.bfloat16), hann(64), 16).dtype == jnp.complex64


def test_frame_and_overlap_add_are_transposes():
    x = np.arange(11)
    for size, hop in ((5, 2), (3, 4), (11, 3)):
        naive = [x[i : i + size] for i in range(0, 11 - size + 1, hop)]
        np.testing.assert_array_equal(jax.jit(lambda x, s=size, h=hop: frame(x, s, h))(x), naive)
        frames = np.random.default_rng(0).normal(size=(len(naive), size))
        summed = np.zeros(20)
        for i, part in enumerate(frames):
            summed[i * hop : i * hop + size] += part
        for ours in (overlap_add(frames, hop), jax.jit(overlap_add, static_argnums=1)(frames, hop)):
            ours = np.asarray(ours)
            np.testing.assert_allclose(ours, summed[: len(ours)], atol=1e-6)
            assert not np.any(summed[len(ours) :])


def test_polar_form_and_its_gradients_at_zero():
    def loss(x):
        spectrum = stft(x, hann(64), 16)
        again = from_polar(magnitude(spectrum), phase(spectrum))
        return jnp.sum(magnitude(spectrum)) + jnp.sum(phase(spectrum)), (spectrum, phase(spectrum), again)

    run = jax.jit(jax.grad(loss, has_aux=True))
    slope, (spectrum, angle, again) = run(signal(200))
    np.testing.assert_allclose(again, spectrum, atol=1e-5)
    np.testing.assert_allclose(angle, np.angle(spectrum), atol=1e-6)
    assert np.all(np.isfinite(slope))
    assert np.all(np.isfinite(run(np.zeros(200, np.float32))[0]))


def test_randomise_phase_keeps_magnitudes_partially():
    """A steady tone: its frames no longer add up in step, so that most of its energy is lost, and it is seedable."""
    x = np.sin(2 * np.pi * 440 / 8000 * np.arange(4000)).astype(np.float32)
    draw = jax.jit(lambda key: randomise_phase(key, x, hann(256), 64))
    one, again, other = (np.asarray(draw(jax.random.key(i))) for i in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1
    assert 0.1 < np.mean(one**2) / np.mean(x**2) < 0.6
    assert abs(np.corrcoef(one, x)[0, 1]) < 0.5
