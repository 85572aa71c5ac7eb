"""Renders notes of a SoundFont at any sample rate, on the host.

The recording of a zone, its loop repeated for the duration of the note, is resampled once, which transposes it and
band-limits it to the target rate without aliasing. A low-pass filter, whose corner is modulated by the modulation
envelope of the zone, and the volume envelope follow. Vibrato, tremolo, pitch envelopes, panning (the sum of both
channels is returned) and effects are not rendered. The amplitude is ``(velocity / 127)^2``, as in the specification.
"""

import functools
import math
from typing import Annotated

import numpy as np

from scorekit.arguments import Count, NonNegativeInt, Positive, checked
from scorekit.audio.fourier import overlap_add
from scorekit.data._midi_keys import SevenBits
from scorekit.data.soundfont import SoundFont, Zone

__all__ = ["render_note"]

_FULL_DECAY_DB = 100.0  # attenuation at the end of the decay or release time of a volume envelope
_MOST_OCTAVES = 12
"""Between the rate of a recording at a pitch and that of a sound: more would take much memory for a short sound."""
_BLOCK_SECONDS = 0.008  # length of the blocks within which the filter is constant


@checked
def render_note(
    font: SoundFont,
    program: SevenBits,
    pitch: SevenBits,
    velocity: Annotated[int, Count(1, 127)],
    *,
    sample_rate: Positive[float],
    held: Positive[float],
    seconds: Positive[float],
    bank: NonNegativeInt = 0,
) -> np.ndarray:
    """Renders one note, from its onset; its amplitude is proportional to ``(velocity / 127)^2``.

    The result is float32 ``(round(seconds * sample_rate),)``; silent if the instrument has no zone for this key.

    Args:
      font: instruments, see :func:`scorekit.data.soundfont.read_soundfont`.
      program: the instrument, in the order of General MIDI.
      pitch: the MIDI pitch; 69 is 440 Hz.
      velocity: the MIDI velocity.
      sample_rate: samples a second, in Hz.
      held: time from key press to key release, in seconds.
      seconds: the length of the result; longer releases are truncated.
      bank: 0, or 128 for percussion.

    >>> from scorekit.data.soundfont import read_soundfont
    >>> a = render_note(read_soundfont(), 0, 69, 100, sample_rate=8000, held=0.5, seconds=1.0)
    >>> a.shape, int(np.argmax(np.abs(np.fft.rfft(a))))  # bins of 1 Hz
    ((8000,), 440)

    Source: Creative Technology, SoundFont technical specification 2.04 (2001).
    """
    out = np.zeros(round(seconds * sample_rate), np.float32)
    for zone in font.zones(program, pitch, velocity, bank):
        out += _render_zone(zone, pitch, len(out), sample_rate, held)
    return out * np.float32((velocity / 127.0) ** 2)


def _render_zone(zone: Zone, pitch: int, length: int, sample_rate: float, held: float) -> np.ndarray:
    import soxr

    p = zone.parameters
    key = p["key"] if p["key"] >= 0 else pitch
    semitones = (key - zone.root) * p["scale_tuning"] / 100.0 + p["coarse_tune"] + p["fine_tune"] / 100.0
    octaves = semitones / 12.0 + math.log2(max(zone.rate, 1e-9) / sample_rate)
    if abs(octaves) > _MOST_OCTAVES:
        raise ValueError(
            f"font must have recordings within {_MOST_OCTAVES} octaves of sample_rate={sample_rate:g} Hz, "
            f"got one of {zone.rate:g} Hz, moved by {semitones:g} semitones"
        )
    rate = zone.rate * 2.0 ** (semitones / 12.0)
    x = soxr.resample(_unrolled(zone, math.ceil(length * rate / sample_rate) + 1), rate, sample_rate)
    x = np.pad(x[:length], (0, max(length - len(x), 0)))
    x = _filtered(x, p, key, sample_rate, held)
    envelope = _volume(p, key, np.arange(length) / sample_rate, held)
    pan = np.clip(p["pan"], -500, 500) / 1000.0
    both_channels = math.sqrt(0.5 - pan) + math.sqrt(0.5 + pan)
    return x * (both_channels * 10.0 ** (-p["attenuation"] / 200.0) * envelope).astype(np.float32)


def _unrolled(zone: Zone, length: int) -> np.ndarray:
    """The recording, its loop repeated up to ``length`` samples."""
    if zone.loop is None or length <= zone.loop[1]:
        return zone.sound[:length]
    start, end = zone.loop
    repeats = -(-(length - end) // (end - start))
    return np.concatenate([zone.sound[:end], np.tile(zone.sound[start:end], repeats)])[:length]


def _volume(p, key: int, t: np.ndarray, held: float) -> np.ndarray:
    """The volume envelope: a linear attack, a hold, then decays along straight lines in decibels."""
    delay, attack, hold, decay = (_seconds(p, name, key) for name in ("delay", "attack", "hold", "decay"))
    sustain = min(max(p["sustain"] / 10.0, 0.0), _FULL_DECAY_DB)
    fall = lambda t: np.clip(_FULL_DECAY_DB * (t - delay - attack - hold) / decay, 0.0, sustain)
    rise = lambda t: np.clip((t - delay) / attack, 0.0, 1.0)
    played = np.minimum(t, held)
    released = _FULL_DECAY_DB * np.maximum(t - held, 0.0) / _seconds(p, "release", key)
    decibels = fall(played) + released
    return np.where(decibels < _FULL_DECAY_DB, rise(played) * 10.0 ** (-decibels / 20.0), 0.0)


def _modulation(p, key: int, t: np.ndarray, held: float) -> np.ndarray:
    """The modulation envelope, in [0, 1]: straight lines throughout."""
    names = ("mod_delay", "mod_attack", "mod_hold", "mod_decay")
    delay, attack, hold, decay = (_seconds(p, name, key) for name in names)
    sustain = 1.0 - min(max(p["mod_sustain"] / 1000.0, 0.0), 1.0)
    played = np.minimum(t, held)
    level = np.minimum((played - delay) / attack, np.maximum(1.0 - (played - delay - attack - hold) / decay, sustain))
    return np.clip(level - np.maximum(t - held, 0.0) / _seconds(p, "mod_release", key), 0.0, 1.0)


def _seconds(p, name: str, key: int) -> float:
    """A time of an envelope; holds and decays shorten with the key."""
    cents = p[name] + p.get(f"{name}_by_key", 0) * (60 - key)
    return 2.0 ** (min(max(cents, -12000), 8000) / 1200.0)


def _filtered(x: np.ndarray, p, key: int, sample_rate: float, held: float) -> np.ndarray:
    """The two-pole low-pass filter of the zone, its corner moved by the modulation envelope.

    Overlapping blocks are multiplied by the magnitude of the response: the phase does not change.
    """
    hop = round(_BLOCK_SECONDS * sample_rate)
    size = 2 * hop
    centres = np.arange(-(-len(x) // hop) + 1) * hop / sample_rate
    cents = p["filter_cents"] + p["mod_to_filter"] * _modulation(p, key, centres, held)
    corner = 8.176 * 2.0 ** (np.clip(cents, 1500, 13500) / 1200.0)
    if corner.min() > sample_rate:  # at least an octave above half the sample rate
        return x
    window, frequencies = _analysis(size, sample_rate)
    ratio = (frequencies / corner[:, None]) ** 2
    resonance = 10.0 ** (min(max(p["filter_resonance"], 0), 960) / 200.0) / math.sqrt(2.0)
    response = 1.0 / np.sqrt((1.0 - ratio) ** 2 + ratio / resonance**2)
    response *= min(1.0, 1.0 / math.sqrt(math.sqrt(2.0) * resonance))  # compensates half of the gain of the resonance
    padded = np.pad(x, (hop, len(centres) * hop - len(x)))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectra = np.fft.rfft(blocks, 2 * size) * response.astype(np.float32)
    # The zero-phase response extends by half a block to both sides of each block.
    y = overlap_add(np.roll(np.fft.irfft(spectra, 2 * size), hop, axis=-1), hop)
    return y[2 * hop : 2 * hop + len(x)].astype(np.float32)


@functools.lru_cache(maxsize=8)
def _analysis(size: int, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """A window whose shifts by half its length sum to one, and the frequencies of its padded transform."""
    window = np.sin(np.pi * (np.arange(size)) / size) ** 2
    return window.astype(np.float32), np.fft.rfftfreq(2 * size, 1.0 / sample_rate)
