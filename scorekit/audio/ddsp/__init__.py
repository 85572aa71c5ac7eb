"""A differentiable synthesiser: harmonic oscillators, filtered noise and reverberation, and their controls.

    sound = reverberate(harmonics(f0, amplitudes, rate) + filtered_noise(key, bands, hop, length), room)

Oscillators take controls at the sample rate, for which :func:`upsample` interpolates controls of frames; frame ``m`` is
at sample ``m hop``, as in :mod:`scorekit.audio.stft`. :func:`analyse` estimates amplitudes and noise bands of a
recording of known pitch, which :func:`refine_f0` follows from frame to frame, :func:`loudness` follows from controls,
and :func:`note_controls` is the representation of notes by them, whose first :data:`PITCH_CHANNELS` channels are the
pitch.

Source: Engel et al. 2020, "DDSP: Differentiable digital signal processing" (https://arxiv.org/abs/2001.04643).
"""

from scorekit.audio.ddsp.analysis import Controls, analyse
from scorekit.audio.ddsp.controls import exp_sigmoid, upsample
from scorekit.audio.ddsp.filters import filtered_noise, reverberate
from scorekit.audio.ddsp.loudness import loudness
from scorekit.audio.ddsp.oscillators import accumulate_phase, harmonics
from scorekit.audio.ddsp.pitch import refine_f0
from scorekit.audio.ddsp.representation import PITCH_CHANNELS, note_controls, synthesise

__all__ = [
    "PITCH_CHANNELS",
    "Controls",
    "accumulate_phase",
    "analyse",
    "exp_sigmoid",
    "filtered_noise",
    "harmonics",
    "loudness",
    "note_controls",
    "refine_f0",
    "reverberate",
    "synthesise",
    "upsample",
]
