"""Functions of sound name arguments with which another sound, or none, would look right."""

import jax
import numpy as np
from errors import raising

from scorekit import audio
from scorekit.audio import ddsp, representations, structure

KEY, RATE, ONES, HANN = jax.random.key(0), 8000, np.ones(64), audio.hann
CONTROLS = ddsp.note_controls(64, 16_000)


def constant_q(**arguments):
    return lambda: audio.constant_q_frame(1000, 8000, **arguments)


test_errors_name_the_argument = raising(
    [
        ("f_min, f_max must", constant_q(f_min=0.0)),
        ("f_min, f_max must", constant_q(f_min=100.0, f_max=3900.0)),
        ("length must", constant_q(f_min=20.0)),
        ("columns must", constant_q(f_min=200.0, columns=8)),
        ("f_min, f_max must", lambda: audio.mel_filter_bank(RATE, 256, 20, f_max=5000.0)),
        ("num_mels must", lambda: audio.mel_filter_bank(RATE, 64, 40)),
        ("x must", lambda: audio.stft(np.zeros(9, complex), HANN(4), 1)),
        ("spectrum must", lambda: audio.istft(np.zeros((3, 9)), HANN(16), 4, 16)),
        ("hop must", lambda: audio.istft(np.zeros((2, 9)), HANN(16), 16, 16)),
        ("magnitudes must", lambda: audio.griffin_lim(KEY, np.ones((5, 9), complex), HANN(16), 4, 16)),
        ("factor must", lambda: audio.low_rate(np.zeros(8), 3)),
        ("length must", lambda: audio.harmonic_tones(np.zeros((1, 33, 128)), 2000, RATE)),
        ("f0 must", lambda: ddsp.harmonics(np.full(8, 9e3), np.ones(2), 16_000)),
        ("f0 must", lambda: ddsp.refine_f0(ONES, 100.0, 16_000)),
        ("f0 must", lambda: ddsp.refine_f0(ONES, 8e3, 16_000)),
        ("x must", lambda: ddsp.refine_f0(0 * ONES, 200.0, 16_000)),
        ("bands must", lambda: ddsp.analyse(ONES, np.ones(3), 16_000, 2, hop=16, window=16)),
        ("bands must", lambda: ddsp.loudness(np.ones(3), np.ones((3, 2)), np.ones((3, 1)), 16_000)),
        ("K >= 2", lambda: ddsp.filtered_noise(KEY, np.ones((3, 1)), 8, 16)),
        ("response must", lambda: ddsp.reverberate(np.ones((3, 4)), np.ones((2, 4)))),
        ("pitch must", lambda: CONTROLS.encode(ONES[None])),
        ("pitch must", lambda: CONTROLS.encode(ONES[None], [120])),
        ("dct_power must", lambda: representations.log_magnitudes(1024, dct_power=0.5)),
        ("by_frames must", lambda: representations.log_magnitudes(1024, by_bins=True, by_frames=True)),
        ("fft_size", lambda: representations.log_magnitudes(2048, fft_size=255)),
        ("hop must", lambda: representations.compressed(2047)),
        ("factor must", lambda: representations.low_rate(2048, 3)),
        ("lags must", lambda: structure.autocorrelation(np.zeros(5), (1, 4))),
        ("lags must", lambda: structure.self_similarity(np.zeros((5, 2)), (-1,))),
        ("x must", lambda: audio.write("a.wav", np.zeros((8000, 2)), 8000)),
        ("x must", lambda: audio.write("a.wav", [0.5j], 8000)),
        ("int16", lambda: audio.write("a.wav", np.int16([-32768, 0]), 8000)),
    ]
)
