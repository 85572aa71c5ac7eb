"""Audio: transforms of signals, spectrograms and their inverses."""

import numpy as np

from scorekit import audio
from valid_calls.common import KEY
from valid_calls.kinds import Count, Data, Number, call

_X, _LONG = (np.sin(np.arange(n, dtype=np.float32)) for n in (16, 200))
_WINDOW = np.asarray(audio.hann(8), np.float32)
_SPECTRUM = np.ones((2, 5), np.complex64)
_SIZE = np.ones((2, 5), np.float32)
_BANK = np.ones((5, 3), np.float32)
_FRAME = audio.constant_q_frame(64, 1000.0, f_min=200.0, bins_per_octave=2)
_LOG_MEL = audio.make_log_mel(1000.0, num_mels=3, fft_size=64, hop=16)
USUAL = {
    "sample_rate": 1000.0,
    "bank": Data(_BANK, "integer"),
    "x": Data(_X, "integer, shape"),
    "length": 2,
    "key": KEY,
    "window": Data(_WINDOW, "integer; empty: raises"),
    "hop": 2,
    "fft_size": 64,
    "mel": Data(np.ones((2, 3), np.float32), "integer"),
    "spectrum": Data(_SPECTRUM, "integer, shape, empty"),
    "frame": _FRAME,
    "num_mels": 1,
    "factor": 4,
}
_PLAIN = "stft magnitude phase randomise_phase mel_spectrogram log_mel mel_envelope"
ROWS = {
    **{f"audio.{name}": call() for name in _PLAIN.split()},
    "audio.istft": call(
        spectrum=Data(_SPECTRUM, "integer: a real spectrum is one without phases"),
        length=Count(1, alias="spectrum", least=0),
    ),
    "audio.frame": call(x=Data(_X, "integer"), size=8),
    "audio.overlap_add": call(frames=Data(np.ones((3, 4), np.float32), "integer, shape")),
    "audio.from_polar": call(magnitude=Data(_SIZE, "integer", alias="phase"), phase=Data(_SIZE, "integer")),
    "audio.random_phase": call(like=Data(_SIZE, "shape, empty; nan: only its shape and dtype are read")),
    "audio.griffin_lim": call(
        magnitudes=Data(_SIZE, alias="spectrum"),
        length=Count(1, alias="spectrum", least=0),
        iterations=1,
        window=_WINDOW,
    ),
    "audio.constant_q_frame": call(
        lambda sample_rate, **kwargs: audio.constant_q_frame(
            **{"sample_rate": sample_rate, "f_min": sample_rate / 4, "f_max": sample_rate / 4, **kwargs}
        ),
        length=4,
        bins_per_octave=1,
        columns=1,
    ),
    "audio.constant_q_frame/frequencies": call(
        length=64,
        bins_per_octave=2,
        f_min=Number(200.0, low=0.0, high=600.0),
        f_max=Number(300.0, low=100.0, high=600.0),
    ),
    "audio.constant_q": call(x=Data(np.ones(64, np.float32), "integer")),
    "audio.inverse_constant_q": call(
        coefficients=Data(np.ones(np.shape(_FRAME.bins), np.complex64), "integer: real coefficients have no phases")
    ),
    "audio.instantaneous_frequency": call(phase=Data(_SIZE, "integer, shape")),
    "audio.phase_from_frequency": call(frequency=Data(_SIZE, "integer, shape")),
    "audio.encode_spectrum": call(spectrum=Data(_SPECTRUM, "integer, shape")),
    "audio.decode_spectrum": call(channels=Data(np.ones((5, 3, 2), np.float32), "integer")),
    "audio.frequency_to_hz": call(frequency=Data(_SIZE[0], "integer")),
    "audio.mel_to_hz": call(mel=Number(10.0)),
    "audio.mel_filter_bank/corners": call(num_mels=3, f_min=50.0, f_max=Number(400.0, low=50.0, high=501.0)),
    "audio.magnitude_from_mel": call(iterations=2),
    "audio.magnitude_from_mel/range": call(
        lambda mel: audio.magnitude_from_mel(np.full(3, mel), _BANK), mel=Number(1.0, low=-1.0)
    ),
    "audio.apply_gains": call(
        x=Data(_X[:1], "integer, shape", alias="gains"), gains=Data(_SIZE, "integer"), window=_WINDOW
    ),
    "audio.match_mel": call(x=Data(_X[1:2], "integer, shape", alias="mel"), window=_WINDOW),
    "audio.make_log_mel": call(num_mels=1, fft_size=64, f_min=0.0),
    "audio.LogMel/encode": call(_LOG_MEL.encode, sound=Data(np.ones((1, 64), np.float32), "integer, shape", alias="x")),
    "audio.low_rate": call(x=Data(_X, "integer", alias="factor")),
    "audio.high_rate": call(y=Data(_X, "integer, shape")),
    **{f"audio.representations.{name}": call(hop=1) for name in ("spectrogram", "compressed")},
    "audio.representations.log_magnitudes": call(hop=1, by_bins=True),
    "audio.representations.magnitudes": call(mel=_LOG_MEL),
    "audio.representations.low_rate": call(factor=1),
    **{
        f"audio.structure.{name}_statistics": call(x=Data(_LONG, "integer", alias="lags"), sample_rate=10.0)
        for name in ("rhythm", "harmony")
    },
}
