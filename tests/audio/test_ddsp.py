"""The differentiable synthesiser against sums in float64: phases, partials, filters and their analysis."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.audio import ddsp

RATE = 16000.0


def exact_phase(f0):
    return np.concatenate([[0.0], np.cumsum(np.asarray(f0, np.float64))[:-1]]) / RATE


def test_the_phase_of_a_vibrato_of_two_minutes_does_not_drift():
    f0 = (300.0 + 200.0 * np.sin(2 * np.pi * np.arange(120 * 16000) / 50_000)).astype(np.float32)
    turns = np.asarray(jax.jit(ddsp.accumulate_phase, static_argnums=1)(f0, RATE))
    assert -0.5 <= turns.min() <= turns.max() < 0.5
    off = turns - exact_phase(f0)
    assert np.abs(off - np.round(off)).max() < 3e-4  # a sum in float32 is off by 0.1 and more


def test_the_phase_of_a_minute_is_as_exact_as_stated():
    lowest, others = map(float, re.findall(r"\d\.\d+e-4|1e-4", ddsp.accumulate_phase.__doc__))
    f0 = np.float32([14.531669, 31.227097, 441.3, 2307.3698, 7591.5493])  # the first two below 1/256 of the rate
    turns = np.asarray(jax.jit(lambda f0: ddsp.accumulate_phase(f0, RATE)[:, -1])(np.tile(f0[:, None], 60 * 16000)))
    off = turns - np.float64(f0) * (60 * 16000 - 1) / RATE
    off = np.abs(off - np.round(off))
    assert 1.9e-4 < off[:2].max() < lowest
    assert 1.0e-4 < off[2:].max() < others


def test_a_sound_is_the_sum_of_its_partials():
    n, k = np.arange(4000), np.arange(1, 9)
    f0 = (1500.0 - 0.2 * n).astype(np.float32)
    amplitudes = np.abs(np.sin(np.arange(2 * 4000 * 8).reshape(2, 4000, 8) / 7e3)).astype(np.float32)
    heard = amplitudes * (k * f0[:, None] < RATE / 2)
    expected = np.sum(heard * np.sin(2 * np.pi * k * exact_phase(f0)[:, None]), -1)
    found = jax.vmap(lambda a: ddsp.harmonics(f0, a, RATE))(amplitudes)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_gradients_of_frequencies_are_those_of_the_exact_sum():
    f0 = np.linspace(500.0, 700.0, 200, dtype=np.float32)
    amplitudes, weights = np.array([0.5, 0.2]), np.cos(np.arange(200))
    loss = lambda f0: jnp.sum(ddsp.harmonics(f0, amplitudes, RATE) * weights)
    k = np.arange(1, 3)
    slope = weights * (np.cos(2 * np.pi * k * exact_phase(f0)[:, None]) @ (amplitudes * 2 * np.pi * k / RATE))
    expected = np.cumsum(slope[::-1])[::-1] - slope  # a frequency turns all samples after its own
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(f0), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["linear", "hann"])
def test_upsampled_controls_meet_their_frames(method):
    frames = np.stack([np.arange(6.0), np.ones(6), [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]], -1)
    found = np.asarray(ddsp.upsample(frames, 8, 37, method))
    assert found.shape == (37, 3)
    np.testing.assert_allclose(found[::8], frames[:5], atol=1e-6)
    np.testing.assert_allclose(found[:, 1], 1.0, atol=1e-6)
    middle = found[4::8]
    np.testing.assert_allclose(middle, (frames[:5] + frames[1:])[: len(middle)] / 2, atol=1e-6)
    share = 0.25 if method == "linear" else np.sin(np.pi / 8) ** 2
    np.testing.assert_allclose(found[2, 2], 3.0 - 2.0 * share, atol=1e-6)


def test_amplitudes_are_exponential_for_small_and_bounded_for_large_inputs():
    x = np.array([-30.0, -5.0, 0.0, 50.0])
    expected = 2.0 * (1.0 / (1.0 + np.exp(-x))) ** np.log(10.0) + 1e-7
    np.testing.assert_allclose(ddsp.exp_sigmoid(x), expected, rtol=1e-5)


@pytest.mark.parametrize(("hop", "length"), [(10, 95), (7, 64)])
def test_constant_bands_are_one_filter_for_all_the_noise(hop, length):
    key, bands = jax.random.key(3), np.exp(-0.3 * np.arange(9.0))
    frames = 1 + -(-length // hop)
    found = ddsp.filtered_noise(key, np.tile(bands, (frames, 1)), hop, length)
    noise = np.asarray(jax.random.normal(key, (frames, hop)), np.float64).reshape(-1)  # from sample -(hop // 2)
    response = np.roll(np.fft.irfft(bands, 16), 8) * np.sin(np.pi * np.arange(16) / 16) ** 2  # its middle is tap 8
    expected = np.convolve(noise, response)[hop // 2 + 8 :][:length]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_spectrum_of_noise_is_its_filter_and_follows_the_frames():
    bands = np.zeros((65, 33), np.float32)
    bands[:32, :9], bands[33:, 24:] = 1.0, 1.0
    x = np.asarray(ddsp.filtered_noise(jax.random.key(0), bands, 256, 16384))
    low, high = (np.abs(np.fft.rfft(half)) ** 2 / 8192 for half in np.split(x, 2))
    share = lambda power, a, b: power[int(a * 4096) : int(b * 4096)].mean()
    assert share(low, 0.0, 0.22) == pytest.approx(1.0, rel=0.1)
    assert share(high, 0.8, 1.0) == pytest.approx(1.0, rel=0.1)
    assert share(low, 0.4, 1.0) < 0.01
    assert share(high, 0.0, 0.6) < 0.01


def test_reverberation_is_a_causal_convolution():
    rng = np.random.default_rng(0)
    x, response = rng.normal(size=(3, 100)).astype(np.float32), rng.normal(size=(40,)).astype(np.float32)
    found = ddsp.reverberate(x, response)
    expected = [np.convolve(row, response)[:100] for row in x]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_analysis_finds_the_controls_that_were_played():
    """Partials closer than the window separates, missing partials, noise; at the ends of the sound as well."""
    amplitudes, rate, length, hop = np.array([0.5, 0.0, 0.3, 0.1]), 8000.0, 1600, 160
    n = np.arange(length)
    phases = np.array([0.1, 0.0, -0.2, 0.4])
    tones = np.sin(2 * np.pi * (np.arange(1, 5) * 75.0 * n[:, None] / rate + phases)) @ amplitudes
    analyse = jax.jit(lambda x: ddsp.analyse(x, np.full(11, 75.0), rate, 4, hop=hop, window=256, bands=17))
    found = analyse(tones.astype(np.float32))
    np.testing.assert_allclose(found.amplitudes[1:-1], np.tile(amplitudes, (9, 1)), atol=2e-3)
    at = (phases + np.arange(1, 5) * 75.0 * hop / rate * np.arange(11)[:, None])[:, [0, 2, 3]]
    off = np.asarray(found.phases)[:, [0, 2, 3]] - at
    np.testing.assert_allclose((off - np.round(off))[1:-1], 0.0, atol=5e-3)
    assert np.asarray(found.bands).max() < 1e-3
    noise = 0.2 * np.random.default_rng(0).normal(size=(40, length))
    noisy = jax.jit(jax.vmap(lambda x: analyse(x).bands))((tones + noise).astype(np.float32))
    np.testing.assert_allclose(np.sqrt(np.mean(noisy**2, (0, 1)))[4:-1], 0.2, rtol=0.05)


@pytest.fixture(scope="module")
def vibrato():
    """Two notes 20 cents off their nominal pitch, one with a vibrato of 30 cents, one silent in its first half."""
    rate, length, n = 4000.0, 4096, np.arange(4096)
    cents = np.stack([20.0 + 0.0 * n, 30.0 * np.sin(2 * np.pi * 3.0 * n / rate) + 20.0])
    f0 = (np.array([[110.0], [330.0]]) * 2 ** (cents / 1200)).astype(np.float32)
    amplitudes = np.array([0.5, 0.3, 0.2, 0.1], np.float32) * np.where(n < length // 2, [[0.0], [1.0]], 1.0)[..., None]
    x = jax.jit(lambda f0, a: ddsp.harmonics(f0, a, rate))(f0, amplitudes)
    return f0, x, rate


@pytest.mark.slow
def test_the_pitch_of_a_note_is_followed_from_frame_to_frame(vibrato):
    f0, x, rate = vibrato
    refine = jax.jit(lambda x: ddsp.refine_f0(x, np.array([110.0, 330.0]), rate))
    off = 1200 * np.abs(np.log2(np.asarray(refine(x)) / np.pad(f0[:, ::64], [(0, 0), (0, 1)], mode="edge")))
    assert off[0, 36:60].max() < 0.1
    assert off[0, :24].max() < 2.0  # silent frames have the mean
    assert off[1, 4:-4].max() < 7.0  # of 30, smoothed
    np.testing.assert_allclose(refine(0.0 * x)[:, 0], [110.0, 330.0])


@pytest.mark.slow
def test_notes_are_played_from_their_representation(vibrato):
    """To the pitch and the amplitudes; bits of the pitch are rounded."""
    _, x, rate = vibrato
    representation = ddsp.note_controls(4096, rate, partials=6, bands=9)
    encode, decode = jax.jit(representation.encode), jax.jit(representation.decode)
    pitch = np.array([45, 64])
    z = encode(x, pitch)
    assert z.shape == (2, 64, 23)
    bits = [[-1, 1, -1, 1, 1, -1, 1], [1, -1, -1, -1, -1, -1, -1]]  # 45 = 32 + 8 + 4 + 1, and 64
    np.testing.assert_array_equal(z[..., :7], np.broadcast_to(np.array(bits)[:, None], (2, 64, 7)))
    again = decode(z)
    spectra = [np.abs(np.fft.rfft(np.asarray(y)[0, 2304:3840] * np.hanning(1536))) for y in (x, again)]
    assert np.linalg.norm(spectra[0] - spectra[1]) < 0.01 * np.linalg.norm(spectra[0])
    noise = np.random.default_rng(0).normal(size=(2, 64, 7)).astype(np.float32)
    np.testing.assert_array_equal(decode(z.at[..., :7].add(noise)), again)


@pytest.mark.slow
def test_silence_has_finite_gradients():
    """Where amplitudes, phases and bands are functions of zeros, and logarithms of the floor."""
    silent, pitch = jnp.zeros((1, 256)), np.array([64])
    representation = ddsp.note_controls(256, 4000.0, partials=2, bands=3)
    slopes = jax.jit(jax.grad(lambda x: jnp.sum(representation.encode(x, pitch) ** 2)))(silent)
    played = jax.jit(jax.grad(lambda z: jnp.sum((representation.decode(z) - 1.0) ** 2)))(jnp.full((1, 4, 13), -9.0))
    assert np.all(np.isfinite(slopes))
    assert np.all(np.isfinite(played))


def test_a_sound_is_its_partials_and_its_noise():
    """Frequencies are interpolated linearly, amplitudes by Hann windows."""
    key, f0, bands = jax.random.key(0), np.linspace(200.0, 300.0, 5), np.ones((5, 9), np.float32)
    a = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    exact_f0, exact_a = np.interp(np.arange(64), 16 * np.arange(5), f0), ddsp.upsample(a, 16, 64, "hann")
    expected = ddsp.harmonics(exact_f0, exact_a, RATE) + ddsp.filtered_noise(key, bands, 16, 64)
    np.testing.assert_allclose(ddsp.synthesise(key, f0, a, bands, RATE, 16, 64), expected, atol=1e-4)


def test_loudness_is_the_root_mean_square_of_what_is_played():
    """Of whole periods, and of noise over many frames; partials at half the sample rate and above are not played."""
    frames, hop = 257, 64
    length = (frames - 1) * hop
    f0, amplitudes = np.full(frames, 2000.0), np.tile([0.5, 0.3, 0.2, 9.0, 9.0], (frames, 1))
    bands = np.tile(0.1 * np.exp(-0.2 * np.arange(17.0)), (frames, 1))
    for a, b in ((amplitudes, 0 * bands), (0 * amplitudes, bands), (amplitudes, bands)):
        sound = np.asarray(ddsp.synthesise(jax.random.key(0), f0, a, b, RATE, hop, length), np.float64)
        found = np.asarray(ddsp.loudness(f0, a, b, RATE, floor=1e-6))
        np.testing.assert_allclose(found, found[0])
        assert np.exp(found[0]) == pytest.approx(np.sqrt(np.mean(sound**2)), rel=1e-4 if not b.any() else 0.02)
    silent = ddsp.loudness(f0, 0 * amplitudes, 0 * bands, RATE)
    np.testing.assert_allclose(silent, np.log(1e-3), rtol=1e-6)
    slope = jax.grad(lambda a: jnp.sum(ddsp.loudness(f0[:1], a, bands[:1], RATE)))(jnp.asarray(amplitudes[:1]))
    power = np.exp(2 * np.asarray(ddsp.loudness(f0[:1], amplitudes[:1], bands[:1], RATE)))
    np.testing.assert_allclose(slope, np.array([[0.5, 0.3, 0.2, 0.0, 0.0]]) / (2 * power), rtol=1e-5)


@pytest.mark.slow
def test_the_controls_of_a_representation_are_what_it_plays():
    representation = ddsp.note_controls(256, 4000.0, partials=3, bands=5)
    x = np.random.default_rng(0).normal(size=(2, 4, 16)).astype(np.float32)
    x[1, :, 0] += 2.0
    assert representation.controls is not None
    f0, amplitudes, bands = representation.controls(x)
    note = [int("".join("1" if bit > 0 else "0" for bit in row), 2) for row in x[..., :7].mean(1)]
    expected = 440 * 2 ** ((np.array(note)[:, None] + 0.1 * x[..., 7] - 69) / 12)
    np.testing.assert_allclose(f0, np.minimum(expected, 2000), rtol=1e-5)
    sizes = np.maximum(np.exp(1.5 * x[..., 8:] - 5.0) - 1e-3, 0)
    np.testing.assert_allclose(np.concatenate([amplitudes, bands], -1), sizes, rtol=1e-4, atol=1e-7)
    f0, amplitudes, bands = (np.concatenate([c, c[:, -1:]], 1) for c in (f0, amplitudes, bands))
    played = ddsp.synthesise(jax.random.key(0), f0, amplitudes, bands, 4000.0, 64, 256)
    np.testing.assert_allclose(representation.decode(x), played, atol=1e-6)
