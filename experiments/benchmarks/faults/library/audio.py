"""Audio: transforms of signals, spectrograms and their inverses."""

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Count, Data, Number, call
from scorekit import audio

_KEY = jax.random.key(0)
_FLOATS = {"integer": "integers count as floats"}
_FREE = _FLOATS | {"shape": "leading axes are free: signals of one sample"}
_ANY = _FLOATS | {"shape": "any shape is allowed", "empty": "no value gives no value"}
_X, _LONG = (np.sin(np.arange(n, dtype=np.float32)) for n in (16, 200))
_WINDOW = np.asarray(audio.hann(8), np.float32)
_SPECTRUM = np.ones((2, 5), np.complex64)
_SIZE = np.ones((2, 5), np.float32)
_BANK = np.ones((5, 3), np.float32)
_MEL = np.ones((2, 3), np.float32)
_TRANSFORM = {"window": Data(_WINDOW, _FLOATS | {"empty": "raises"}), "hop": 2}
_FIXED = {"window": _WINDOW, "hop": 2}
_FRAME = audio.constant_q_frame(64, 1000.0, f_min=200.0, bins_per_octave=2)
_LOG_MEL = audio.make_log_mel(1000.0, num_mels=3, fft_size=64, hop=16)
_PHASES = {"integer": "integers count as radians", "shape": "leading axes are free: spectra of one bin"}

ROWS: dict[str, Call] = {
    "audio.stft": call(audio.stft, x=Data(_X, _FREE), **_TRANSFORM),
    "audio.istft": call(
        audio.istft,
        spectrum=Data(_SPECTRUM, {"integer": "a real spectrum is one without phases"}),
        length=Count(1, least=0, alias="spectrum"),
        **_TRANSFORM,
    ),
    "audio.frame": call(audio.frame, x=Data(_X, _FLOATS), size=8, hop=4),
    "audio.overlap_add": call(
        audio.overlap_add, frames=Data(np.ones((3, 4), np.float32), _FREE | {"integer": "as floats"}), hop=2
    ),
    "audio.magnitude": call(audio.magnitude, spectrum=Data(_SPECTRUM, _ANY)),
    "audio.phase": call(audio.phase, spectrum=Data(_SPECTRUM, _ANY)),
    "audio.from_polar": call(
        audio.from_polar, magnitude=Data(_SIZE, _FLOATS, alias="phase"), phase=Data(_SIZE, _FLOATS)
    ),
    "audio.random_phase": call(
        lambda like: audio.random_phase(_KEY, like),
        like=Data(_SIZE, {"shape": "any shape", "empty": "no value", "nan": "only its shape and dtype are read"}),
    ),
    "audio.randomise_phase": call(
        lambda **kwargs: audio.randomise_phase(_KEY, **kwargs), x=Data(_X, _FREE), **_TRANSFORM
    ),
    "audio.griffin_lim": call(
        lambda **kwargs: audio.griffin_lim(_KEY, **kwargs),
        magnitudes=Data(_SIZE, alias="spectrum"),
        length=Count(1, least=0, alias="spectrum"),
        iterations=1,
        momentum=0.5,
        **_FIXED,
    ),
    "audio.constant_q_frame": call(
        lambda sample_rate, **kwargs: audio.constant_q_frame(
            sample_rate=sample_rate, f_min=sample_rate / 4, f_max=sample_rate / 4, **kwargs
        ),
        length=4,
        sample_rate=1000.0,
        bins_per_octave=1,
        columns=1,
    ),
    "audio.constant_q_frame/frequencies": call(
        lambda **kwargs: audio.constant_q_frame(64, 1000.0, bins_per_octave=2, **kwargs),
        f_min=Number(200.0, low=0.0, high=600.0),
        f_max=Number(300.0, low=100.0, high=600.0),
    ),
    "audio.constant_q": call(lambda x: audio.constant_q(x, _FRAME), x=Data(np.ones(64, np.float32), _FLOATS)),
    "audio.inverse_constant_q": call(
        lambda coefficients: audio.inverse_constant_q(coefficients, _FRAME),
        coefficients=Data(
            np.ones(np.shape(_FRAME.bins), np.complex64), {"integer": "real coefficients have no phases"}
        ),
    ),
    "audio.instantaneous_frequency": call(audio.instantaneous_frequency, phase=Data(_SIZE, _PHASES)),
    "audio.phase_from_frequency": call(audio.phase_from_frequency, frequency=Data(_SIZE, _PHASES)),
    "audio.encode_spectrum": call(audio.encode_spectrum, spectrum=Data(_SPECTRUM, _PHASES)),
    "audio.decode_spectrum": call(audio.decode_spectrum, channels=Data(np.ones((5, 3, 2), np.float32), _FLOATS)),
    "audio.frequency_to_hz": call(audio.frequency_to_hz, frequency=Data(_SIZE[0], _FLOATS), sample_rate=1000.0, hop=4),
    "audio.mel_to_hz": call(audio.mel_to_hz, mel=Number(10.0)),
    "audio.mel_filter_bank": call(
        audio.mel_filter_bank,
        sample_rate=1000.0,
        fft_size=64,
        num_mels=1,
    ),
    "audio.mel_filter_bank/corners": call(
        lambda f_max: audio.mel_filter_bank(1000.0, 64, 3, f_min=50.0, f_max=f_max),
        f_max=Number(400.0, low=50.0, high=501.0),
    ),
    "audio.mel_spectrogram": call(audio.mel_spectrogram, x=Data(_X, _FREE), bank=Data(_BANK, _FLOATS), **_TRANSFORM),
    "audio.log_mel": call(
        audio.log_mel,
        x=Data(_X, _FREE),
        bank=Data(_BANK, _FLOATS),
        **_TRANSFORM,
    ),
    "audio.magnitude_from_mel": call(
        audio.magnitude_from_mel, mel=Data(_MEL, _FLOATS), bank=Data(_BANK, _FLOATS), iterations=2
    ),
    "audio.magnitude_from_mel/range": call(
        lambda mel: audio.magnitude_from_mel(np.full(3, mel), _BANK), mel=Number(1.0, low=-1.0)
    ),
    "audio.mel_envelope": call(audio.mel_envelope, mel=Data(_MEL, _FLOATS), bank=Data(_BANK, _FLOATS)),
    "audio.apply_gains": call(
        audio.apply_gains, x=Data(_X[:1], _FREE, alias="gains"), gains=Data(_SIZE, _FLOATS), **_FIXED
    ),
    "audio.match_mel": call(
        audio.match_mel,
        x=Data(_X[1:2], _FREE, alias="mel"),
        mel=Data(_MEL, _FLOATS),
        bank=Data(_BANK, _FLOATS),
        **_FIXED,
    ),
    "audio.make_log_mel": call(
        audio.make_log_mel,
        sample_rate=1000.0,
        num_mels=1,
        fft_size=64,
        f_min=0.0,
    ),
    "audio.LogMel/encode": call(
        lambda sound: _LOG_MEL.encode(sound), sound=Data(np.ones((1, 64), np.float32), _FREE, alias="x")
    ),
    "audio.low_rate": call(audio.low_rate, x=Data(_X, _FLOATS, alias="factor"), factor=4),
    "audio.high_rate": call(audio.high_rate, y=Data(_X, _FREE), factor=4),
    "audio.representations.spectrogram": call(audio.representations.spectrogram, length=2, hop=1),
    "audio.representations.compressed": call(audio.representations.compressed, length=2, hop=1),
    "audio.representations.log_magnitudes": call(audio.representations.log_magnitudes, length=2, hop=1, by_bins=True),
    "audio.representations.magnitudes": call(audio.representations.magnitudes, mel=_LOG_MEL),
    "audio.representations.low_rate": call(audio.representations.low_rate, length=2, factor=1),
    "audio.structure.rhythm_statistics": call(
        audio.structure.rhythm_statistics, x=Data(_LONG, _FLOATS, alias="lags"), sample_rate=10.0
    ),
    "audio.structure.harmony_statistics": call(
        audio.structure.harmony_statistics, x=Data(_LONG, _FLOATS, alias="lags"), sample_rate=10.0
    ),
}

EXEMPT = {
    "audio.ConstantQ": "a result of constant_q_frame",
    "audio.GriffinLim": "a result",
    "audio.Representation": "a pair of functions",
    "audio.Sound": "a result",
    "audio.structure.autocorrelation": "tests/audio/test_structure.py has its errors",
    "audio.structure.self_similarity": "tests/audio/test_structure.py has its errors",
}
