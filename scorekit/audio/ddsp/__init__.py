"""A differentiable synthesiser: harmonic oscillators, filtered noise and reverberation, and their controls.

    sound = reverberate(harmonics(f0, amplitudes, rate) + filtered_noise(key, bands, hop, length), room)

Oscillators take controls at the sample rate, for which :func:`upsample` interpolates controls of frames; frame ``m`` is
at sample ``m hop``, and there are ``frames = 1 + ceil(length / hop)``, as in :mod:`scorekit.audio.fourier`.
:func:`analyse` estimates amplitudes and noise bands of a recording of known pitch, and :func:`refine_f0` follows the
pitch from frame to frame. :func:`loudness` is computed from controls. :func:`note_controls` represents notes by their
controls; its first :data:`PITCH_CHANNELS` channels are the pitch.

Source: Engel et al. 2020, "DDSP: Differentiable digital signal processing" (https://arxiv.org/abs/2001.04643).
"""

from scorekit.audio.ddsp.analysis import Controls, analyse, refine_f0
from scorekit.audio.ddsp.representation import PITCH_CHANNELS, note_controls, synthesise
from scorekit.audio.ddsp.synthesis import (
    accumulate_phase,
    exp_sigmoid,
    filtered_noise,
    harmonics,
    loudness,
    reverberate,
    upsample,
)

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
