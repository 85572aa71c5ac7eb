"""Audio: transforms of signals and their inverses, the synthesiser, conditions and distances."""

import numpy as np

from scorekit import audio
from valid_calls.common import ones
from valid_calls.kinds import Classes, Data, call

_X = np.sin(np.arange(16, dtype=np.float32))
_WINDOW = np.asarray(audio.hann(8), np.float32)
_SPECTRUM = np.ones((2, 5), np.complex64)
_SIZE, _BANK = ones(2, 5), ones(5, 3)
_FRAMES, _SIZES = Data(ones(2, 3), "integer"), Data(_SIZE, "integer")
_PAIR = {"x": Data(_X, "integer"), "y": Data(_X + 0.1, "integer")}
_PITCHES, _KEYS = Classes(np.array([60, 61]), num_classes=128), {"lowest": 0, "highest": 127}
USUAL = {
    "audio": {
        "sample_rate": 1000.0,
        "bank": Data(_BANK, "integer"),
        "x": Data(_X, "integer, shape"),
        "window": Data(_WINDOW, "integer; empty: raises"),
        **dict.fromkeys(("mel", "bands", "amplitudes"), _FRAMES),
        "f0": Data(np.zeros(2, np.float32), "integer", alias="amplitudes"),
    }
}
_BY_USUAL = """
    audio.chroma audio.ddsp.synthesise audio.log_mel audio.log_mel_statistics audio.mel_envelope
    audio.mel_spectrogram audio.onset_envelope audio.stft
"""
ROWS = {
    **dict.fromkeys(_BY_USUAL.split(), call()),
    "audio.istft": call(spectrum=Data(_SPECTRUM, "integer: a real spectrum is one without phases"), length=1),
    "audio.from_polar": call(magnitude=Data(_SIZE, "integer", alias="phase"), phase=_SIZES),
    "audio.griffin_lim": call(magnitudes=Data(_SIZE, alias="spectrum"), length=1, iterations=1, window=_WINDOW),
    **{f"audio.{name}": call(**_PAIR) for name in ("log_spectral_distance", "multi_resolution_stft_loss")},
    "audio.ddsp.harmonics": call(
        f0=Data(0.0 * _X, "integer", alias="amplitudes"), amplitudes=Data(ones(16, 2), "integer")
    ),
    "audio.ddsp.reverberate": call(x=Data(_X, "shape", alias="response"), response=Data(_X[:4], "shape")),
    "audio.pcm_to_float": call(codes=Classes(np.array([0, 1, -2]), "negative: signed", num_classes=2), bits=2),
    "audio.mu_law_decode": call(codes=Classes(np.array([0, 1]), num_classes=2), num_codes=2),
    "audio.harmonic_tones": call(roll=Data(np.zeros((1, 2, 128), np.float32), "integer"), **_KEYS),
    "audio.pitch_velocity_features": call(pitch=_PITCHES, velocity=_PITCHES, **_KEYS),
    "audio.correlation": call(a=Data(_X[None], "integer"), b=Data(_X[None] ** 2, "integer")),
}
