"""Audio: transforms of signals, spectrograms and their inverses."""

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Count, Data, Number, call
from scorekit import audio

_KEY = jax.random.key(0)
_FLOATS = {"integer": "integers count as floats"}
_FREE = _FLOATS | {"shape": "leading axes are free: signals of one sample"}
_ANY = _FLOATS | {"shape": "any shape is allowed", "empty": "no value gives no value"}
_X = np.sin(np.arange(16, dtype=np.float32))
_WINDOW, _HOP = np.asarray(audio.hann(8), np.float32), 4
_SPECTRUM = np.ones((5, 5), np.complex64)
_SIZE = np.ones((5, 5), np.float32)
_BANK = np.ones((5, 3), np.float32)
_MEL = np.ones((5, 3), np.float32)
_RATE = Number(1000.0, low=0.0)
_TRANSFORM = {"window": Data(_WINDOW, _FLOATS | {"empty": "raises"}), "hop": Count(_HOP, alias="spectrum")}
_FIXED = {"window": _WINDOW, "hop": _HOP}
_FRAME = audio.constant_q_frame(64, 1000.0, f_min=200.0, bins_per_octave=2)
_LOG_MEL = audio.make_log_mel(1000.0, num_mels=3, fft_size=64, hop=16)
_PHASES = {"integer": "integers count as radians", "shape": "leading axes are free: spectra of one bin"}

ROWS: dict[str, Call] = {
    "audio.stft": call(audio.stft, x=Data(_X, _FREE), **_TRANSFORM),
    "audio.istft": call(
        audio.istft,
        spectrum=Data(_SPECTRUM, {"integer": "a real spectrum is one without phases"}),
        length=Count(16, least=0, alias="spectrum"),
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
        length=Count(16, least=0, alias="spectrum"),
        iterations=1,
        momentum=0.5,
        **_FIXED,
    ),
    "audio.constant_q_frame": call(
        audio.constant_q_frame,
        length=Count(64),
        sample_rate=_RATE,
        f_min=Number(200.0, low=0.0, high=600.0),
        f_max=Number(300.0, low=100.0, high=600.0),
        bins_per_octave=Count(2),
        columns=Count(64),
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
    "audio.encode_spectrum": call(
        audio.encode_spectrum, spectrum=Data(_SPECTRUM, _PHASES), floor=Number(1e-6, low=0.0)
    ),
    "audio.decode_spectrum": call(
        audio.decode_spectrum, channels=Data(np.ones((5, 3, 2), np.float32), _FLOATS), floor=Number(1e-6, low=0.0)
    ),
    "audio.frequency_to_hz": call(audio.frequency_to_hz, frequency=Data(_SIZE[0], _FLOATS), sample_rate=_RATE, hop=4),
    "audio.hz_to_mel": call(audio.hz_to_mel, frequency=Number(440.0, low=-1.0), scale="htk"),
    "audio.mel_to_hz": call(audio.mel_to_hz, mel=Number(10.0), scale="htk"),
    "audio.mel_filter_bank": call(
        audio.mel_filter_bank,
        sample_rate=_RATE,
        fft_size=Count(64),
        num_mels=Count(3),
        f_min=Number(50.0, low=-1.0, high=400.0),
        f_max=Number(400.0, low=50.0, high=501.0),
        scale="htk",
        norm="slaney",
    ),
    "audio.mel_spectrogram": call(
        audio.mel_spectrogram, x=Data(_X, _FREE), bank=Data(_BANK, _FLOATS), power=1.0, **_TRANSFORM
    ),
    "audio.log_mel": call(
        audio.log_mel,
        x=Data(_X, _FREE),
        bank=Data(_BANK, _FLOATS),
        power=Number(1.0, low=0.0),
        floor=1e-5,
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
        audio.apply_gains, x=Data(_X, alias="gains", documented=_FLOATS), gains=Data(_SIZE, _FLOATS), **_FIXED
    ),
    "audio.match_mel": call(
        audio.match_mel,
        x=Data(_X, _FLOATS, alias="mel"),
        mel=Data(_MEL, _FLOATS),
        bank=Data(_BANK, _FLOATS),
        floor=1e-5,
        **_FIXED,
    ),
    "audio.make_log_mel": call(
        audio.make_log_mel,
        sample_rate=_RATE,
        num_mels=Count(3),
        fft_size=Count(64),
        hop=16,
        f_min=Number(40.0, low=-1.0, high=500.0),
    ),
    "audio.LogMel/encode": call(
        lambda sound: _LOG_MEL.encode(sound), sound=Data(np.ones((1, 64), np.float32), _FREE, alias="x")
    ),
    "audio.low_rate": call(audio.low_rate, x=Data(_X, _FLOATS, alias="factor"), factor=4),
    "audio.high_rate": call(audio.high_rate, y=Data(_X, _FREE), factor=4),
}

EXEMPT = {
    "audio.ConstantQ": "a result of constant_q_frame",
    "audio.GriffinLim": "a result",
    "audio.Representation": "a pair of functions",
    "audio.Sound": "a result",
    "audio.representations.waveform": "a pair of functions; tests/audio/test_representations.py has their errors",
    "audio.representations.low_rate": "a pair of functions; tests/audio/test_representations.py has their errors",
    "audio.representations.spectrogram": "a pair of functions; tests/audio/test_representations.py has their errors",
    "audio.representations.compressed": "a pair of functions; tests/audio/test_representations.py has their errors",
    "audio.representations.magnitudes": "a pair of functions; tests/audio/test_representations.py has their errors",
    "audio.representations.log_magnitudes": "a pair of functions; tests/audio/test_representations.py has their errors",
    "audio.structure.autocorrelation": "tests/audio/test_structure.py has its errors",
    "audio.structure.self_similarity": "tests/audio/test_structure.py has its errors",
    "audio.structure.rhythm_statistics": "those of audio.onset_envelope, of clips of more than 2 s",
    "audio.structure.harmony_statistics": "those of audio.chroma, of clips of more than 3 s",
}
