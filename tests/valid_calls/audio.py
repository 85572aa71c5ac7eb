"""Audio: transforms of signals and their inverses, the synthesiser, conditions, distances and files of sounds."""

import numpy as np

from scorekit import audio
from scorekit.audio import ddsp
from valid_calls.common import in_folder, ones
from valid_calls.kinds import Classes, Count, Data, Number, call

_X, _LONG = (np.sin(np.arange(n, dtype=np.float32)) for n in (16, 200))
_WINDOW = np.asarray(audio.hann(8), np.float32)
_SPECTRUM = np.ones((2, 5), np.complex64)
_SIZE, _BANK = ones(2, 5), ones(5, 3)
_FRAME = audio.constant_q_frame(64, 1000.0, f_min=200.0, bins_per_octave=2)
_LOG_MEL = audio.make_log_mel(1000.0, num_mels=3, fft_size=64, hop=16)
_FRAMES, _ANY, _SIZES = Data(ones(2, 3), "integer"), Data(_X, "integer, shape, empty"), Data(_SIZE, "integer")
_PAIR = {"x": Data(_X, "integer"), "y": Data(_X + 0.1, "integer")}
_PITCHES, _KEYS = Classes(np.array([60, 61]), num_classes=128), {"lowest": 0, "highest": 127}


def _write(folder, x, sample_rate, subtype="PCM_16"):
    audio.write(f"{folder}/a.wav", x, sample_rate, subtype=subtype)
    return audio.read(f"{folder}/a.wav").x


def _read(folder, sample_rate):
    audio.write(f"{folder}/a.wav", _X, 2)
    return audio.read(f"{folder}/a.wav", sample_rate=sample_rate).x


def _without_frequencies(sample_rate, **given):
    return audio.constant_q_frame(
        **{"f_min": sample_rate / 4, "f_max": sample_rate / 4, **given}, sample_rate=sample_rate
    )


USUAL = {
    "audio": {
        "sample_rate": 1000.0,
        "bank": Data(_BANK, "integer"),
        "x": Data(_X, "integer, shape"),
        "window": Data(_WINDOW, "integer; empty: raises"),
        "fft_size": 64,
        **dict.fromkeys(("mel", "bands", "amplitudes", "estimate"), _FRAMES),
        "f0": Data(np.zeros(2, np.float32), "integer", alias="amplitudes"),
        "spectrum": Data(_SPECTRUM, "integer, shape, empty"),
        "frame": _FRAME,
    }
}
ROWS = {
    "audio.istft": call(
        spectrum=Data(_SPECTRUM, "integer: a real spectrum is one without phases"),
        length=Count(1, alias="spectrum", least=0),
    ),
    "audio.frame": call(x=Data(_X, "integer")),
    "audio.overlap_add": call(frames=Data(ones(3, 4), "integer, shape")),
    "audio.from_polar": call(magnitude=Data(_SIZE, "integer", alias="phase"), phase=_SIZES),
    "audio.griffin_lim": call(
        magnitudes=Data(_SIZE, alias="spectrum"),
        length=Count(1, alias="spectrum", least=0),
        iterations=1,
        window=_WINDOW,
    ),
    "audio.constant_q_frame": call(_without_frequencies, length=4, bins_per_octave=1, columns=1),
    "audio.constant_q_frame/frequencies": call(
        length=64,
        bins_per_octave=2,
        f_min=Number(200.0, low=0.0, high=600.0),
        f_max=Number(300.0, low=100.0, high=600.0),
    ),
    "audio.constant_q": call(x=Data(ones(64), "integer")),
    "audio.inverse_constant_q": call(
        coefficients=Data(np.ones(np.shape(_FRAME.bins), np.complex64), "integer: real coefficients have no phases")
    ),
    "audio.encode_spectrum": call(spectrum=Data(_SPECTRUM, "integer, shape")),
    "audio.decode_spectrum": call(channels=Data(ones(5, 3, 2), "integer")),
    "audio.mel_to_hz": call(mel=Number(10.0)),
    "audio.mel_filter_bank/corners": call(f_min=50.0, f_max=Number(400.0, low=50.0, high=501.0)),
    "audio.magnitude_from_mel": call(iterations=2),
    "audio.magnitude_from_mel/range": call(
        lambda mel: audio.magnitude_from_mel(np.full(3, mel), _BANK), mel=Number(1.0, low=-1.0)
    ),
    "audio.match_mel": call(x=Data(_X[1:2], "integer, shape", alias="mel"), window=_WINDOW),
    "audio.make_log_mel": call(num_mels=1, fft_size=64, f_min=0.0),
    "audio.LogMel/encode": call(_LOG_MEL.encode, sound=Data(ones(1, 64), "integer, shape", alias="x")),
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
    **{f"audio.{name}": call(x=_ANY) for name in ("float_to_pcm", "mu_law_compress", "mu_law_encode")},
    "audio.ddsp.exp_sigmoid": call(x=_ANY),
    **{f"audio.{name}": call(**_PAIR) for name in ("log_spectral_distance", "multi_resolution_stft_loss")},
    "audio.mu_law_expand": call(y=_ANY),
    "audio.ddsp.accumulate_phase": call(f0=Data(0.0 * _X, "integer, shape")),
    "audio.ddsp.harmonics": call(
        f0=Data(0.0 * _X, "integer", alias="amplitudes"), amplitudes=Data(ones(16, 2), "integer")
    ),
    "audio.ddsp.upsample": call(controls=Data(_FRAMES.value, "integer; nan: NaN gives NaN")),
    "audio.ddsp.reverberate": call(x=Data(_X, "shape", alias="response"), response=Data(_X[:4], "shape")),
    "audio.ddsp.analyse": call(
        x=Data(_X[1:2], "integer", alias="f0"), f0=Data(100.0 * ones(2), "integer"), bands=2, hop=1, window=8
    ),
    "audio.ddsp.refine_f0": call(
        lambda sample_rate, x=_X, f0=0.45, **kwargs: ddsp.refine_f0(x, f0 * sample_rate, sample_rate, **kwargs),
        window=8,
    ),
    "audio.ddsp.refine_f0/sound": call(
        hop=4, window=32, x=Data(_X, "integer", alias="f0"), f0=Number(100.0, low=0.0, high=500.0)
    ),
    "audio.ddsp.loudness": call(floor=0.001),
    "audio.ddsp.note_controls": call(bands=2, hop=1, window=8),
    "audio.pcm_to_float": call(codes=Classes(np.array([0, 1, -2]), "negative: signed", num_classes=2), bits=2),
    "audio.mu_law_decode": call(codes=Classes(np.array([0, 1]), num_classes=2), num_codes=2),
    "audio.normalise_peak": call(sound=Data(_X, "integer, shape")),
    "audio.pulse_train": call(pitch=Data(69.0 * ones(1), "integer")),
    "audio.harmonic_tones": call(roll=Data(np.zeros((1, 2, 128), np.float32), "integer"), **_KEYS),
    "audio.pitch_velocity_features": call(pitch=_PITCHES, velocity=_PITCHES, **_KEYS),
    "audio.spectral_convergence": call(reference=Data(2.0 * ones(2, 3), "integer")),
    "audio.correlation": call(a=Data(_X[None], "integer"), b=Data(_X[None] ** 2, "integer")),
    "audio.seam_roughness": call(
        x=Data(_X, "integer: integers count as floats; a constant signal gives NaN", alias="seams"),
        seams=Count(5, least=2, of=lambda seam: [seam]),
    ),
    "audio.spectrogram_images": call(sounds=Data(np.stack([_X] * 2), "integer")),
    "audio.read": call(in_folder(_read), sample_rate=1),
    "audio.write": call(
        in_folder(_write), x=Data(_X, "integer; shape: a first axis holds the channels"), sample_rate=1000
    ),
}
