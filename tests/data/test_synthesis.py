"""Rendered notes: pitches against their labels, envelopes and filters against their definitions, determinism."""

import numpy as np
import pytest

from scorekit.data.soundfont import _DEFAULTS as DEFAULTS
from scorekit.data.soundfont import SoundFont, Zone, read_soundfont
from scorekit.data.synthesis import render_note

RATE = 16000
TONE = np.sin(2 * np.pi * 441 / 44100 * np.arange(44100)).astype(np.float32)  # 100 samples to a period


def font_of(sound=TONE, loop=None, root=69.0, rate=44100.0, **parameters):
    zone = Zone(
        pitches=(0, 127),
        velocities=(0, 127),
        sound=sound,
        loop=loop,
        rate=rate,
        root=root,
        parameters={**DEFAULTS, "attack": -12000, **parameters},
    )
    return SoundFont(presets={(0, 0): (zone,)}, names={})


def render(font, pitch=69, velocity=127, held=0.5, seconds=0.6, rate=RATE):
    return render_note(font, 0, pitch, velocity, sample_rate=rate, held=held, seconds=seconds)


def cents(x, rate, pitch):
    """How far the tallest peak of the autocorrelation near ``periods`` periods is from the labelled pitch."""
    x = x - x.mean()
    window = np.hanning(len(x))
    correlate = lambda x: np.fft.irfft(np.abs(np.fft.rfft(x, 4 * len(x))) ** 2)
    r = correlate(x * window) / np.maximum(correlate(window), 1e-3 * window.sum())
    period = rate / (440.0 * 2.0 ** ((pitch - 69) / 12.0))
    periods = max(1, int(0.02 * rate / period))
    low, high = (int(periods * period * 2.0 ** (s / 24.0)) for s in (-1, 1))
    peak = low - 1 + np.argmax(r[low - 1 : high + 2])
    a, b, c = r[peak - 1 : peak + 2]
    return 1200 * np.log2(periods * period / (peak + 0.5 * (a - c) / (a - 2 * b + c)))


CLEAR = (0, 6, 16, 26, 32, 40, 43, 56, 66, 71, 73, 79, 108)  # instruments with an unambiguous autocorrelation


def test_notes_have_the_pitch_of_their_label():
    """Within 15 cents at all tested pitches: the deviation of the recordings from equal temperament."""
    font = read_soundfont()
    errors = [
        cents(render_note(font, p, pitch, 100, sample_rate=RATE, held=0.8, seconds=0.7)[1600:], RATE, pitch)
        for p in CLEAR
        for pitch in (41, 53, 60, 67, 76)
    ]
    assert np.max(np.abs(errors)) < 15.0
    assert np.abs(np.median(errors)) < 5.0


@pytest.mark.parametrize(("shift", "parameters"), [(0, {}), (7, {}), (12.5, {"coarse_tune": 12, "fine_tune": 50})])
def test_render_note_transposes_exactly(shift, parameters):
    """The tone, transposed: the same sine at the shifted frequency, sample by sample."""
    x = render(font_of(**parameters), pitch=69 if parameters else 69 + shift)
    t = np.arange(len(x)) / RATE
    exact = np.sin(2 * np.pi * 441 * 2 ** (shift / 12) * t)
    inner = slice(200, 7000)  # within the recording, before the key is released
    np.testing.assert_allclose(x[inner], exact[inner] * np.sqrt(2), atol=2e-3)


def test_render_note_does_not_alias():
    high = np.sin(2 * np.pi * 3000 / 44100 * np.arange(44100)).astype(np.float32)
    assert np.abs(render(font_of(high), rate=4000)[100:1800]).max() < 1e-3
    assert np.abs(render(font_of(high), rate=8000)[100:1800]).max() > 1.3


def test_loops_repeat():
    x = render(font_of(TONE[:500], loop=(200, 400)))  # two periods
    exact = np.sqrt(2) * np.sin(2 * np.pi * 441 * np.arange(len(x)) / RATE)
    np.testing.assert_allclose(x[200:7000], exact[200:7000], atol=2e-3)
    assert np.abs(render(font_of(TONE[:500]))[400:]).max() < 1e-3  # without a loop it ends


def test_volume_envelope_is_piecewise_linear_in_decibels():
    """Attack to the peak, hold, decay and release along straight lines in decibels."""
    font = font_of(
        np.full(44100, 0.5, np.float32), attack=-3986, hold=-3986, decay=0, sustain=200, release=-1200, attenuation=60
    )  # 0.1 s, 0.1 s, 100 dB a second down to -20 dB, 100 dB in half a second; -6 dB
    x = render(font, held=0.6, seconds=0.9, velocity=64) / (0.5 * np.sqrt(2) * 10**-0.3 * (64 / 127) ** 2)
    at = lambda seconds: x[round(seconds * RATE)]
    assert at(0.05) == pytest.approx(0.5, abs=0.01)
    assert at(0.15) == pytest.approx(1.0, abs=0.01)
    assert 20 * np.log10(at(0.3)) == pytest.approx(-10, abs=0.15)  # the least delay is a millisecond
    assert 20 * np.log10(at(0.55)) == pytest.approx(-20, abs=0.1)
    assert 20 * np.log10(at(0.7)) == pytest.approx(-40, abs=0.15)


def test_filter_response_at_corner_and_resonance():
    """Minus 3 dB at the corner without resonance, minus 24 dB two octaves above, the peak that resonance asks for."""
    corner = 1200 * np.log2(1000 / 8.176)

    def decibels(frequency, **parameters):
        tone = np.sin(2 * np.pi * frequency / 44100 * np.arange(44100)).astype(np.float32)
        x = render(font_of(tone, **parameters))[1000:7000]
        return 20 * np.log10(np.sqrt(np.mean(x**2)))  # relative to the tone

    assert decibels(1000) == pytest.approx(0.0, abs=0.05)
    assert decibels(1000, filter_cents=corner) == pytest.approx(-3.0, abs=0.2)
    assert decibels(100, filter_cents=corner) == pytest.approx(0.0, abs=0.1)
    assert decibels(4000, filter_cents=corner) == pytest.approx(-24.1, abs=0.5)
    assert decibels(1000, filter_cents=corner, filter_resonance=120) == pytest.approx(12.0 - 3.0 - 6.0, abs=0.4)
    moved = {"filter_cents": corner, "mod_to_filter": 2400, "mod_sustain": 0}
    assert decibels(4000, **moved) == pytest.approx(-3.0, abs=0.3)  # the envelope holds the corner two octaves up
    assert decibels(4000, **moved | {"mod_sustain": 1000}) == pytest.approx(-24.1, abs=0.5)


def test_filter_has_zero_phase():
    """A tone below the corner comes out sample by sample, lower by the response there."""
    x = render(font_of(filter_cents=1200 * np.log2(1000 / 8.176)))
    exact = np.sqrt(2) / np.sqrt(1 + 0.441**4) * np.sin(2 * np.pi * 441 * np.arange(len(x)) / RATE)
    np.testing.assert_allclose(x[500:7000], exact[500:7000], atol=0.02)


def test_rendering_is_deterministic_and_silent_without_a_zone():
    font = read_soundfont()
    one, two = (render_note(font, 40, 60, 90, sample_rate=8000, held=0.3, seconds=0.5) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one).max() > 0.01
    assert not np.any(render_note(font, 0, 60, 90, sample_rate=8000, held=0.3, seconds=0.5, bank=77))
