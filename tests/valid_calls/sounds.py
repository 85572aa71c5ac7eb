"""The synthesiser of sounds; samples, conditions, distances and files of sounds; data sets and quantisation."""

import numpy as np

from scorekit import audio, data, io
from scorekit.audio import ddsp
from valid_calls.common import KEY, in_folder
from valid_calls.kinds import Choice, Classes, Count, Data, Number, Shaped, call

_RATE = 1000.0
_F0 = np.zeros(16, np.float32)
_BANDS = np.ones((2, 3), np.float32)
_ONE_SAMPLE = {"hop": 2, "length": 1}
_X = np.sin(np.arange(16, dtype=np.float32))
_PAIR = {"x": Data(_X, "integer"), "y": Data(_X + 0.1, "integer")}
_ANY = Data(_X, "integer, shape, empty")
_CODES = np.array([0, 3, 1])
_ROLL = np.zeros((1, 2, 128), np.float32)


def _write(folder, x, sample_rate, subtype="PCM_16"):
    audio.write(f"{folder}/a.wav", x, sample_rate, subtype=subtype)
    return audio.read(f"{folder}/a.wav").x


def _read(folder, sample_rate):
    audio.write(f"{folder}/a.wav", _X, 2)
    return audio.read(f"{folder}/a.wav", sample_rate=sample_rate).x


USUAL = {
    "sample_rate": _RATE,
    "x": Data(_X, "integer, shape"),
    "bands": Data(_BANDS, "integer"),
    "key": KEY,
    "count": 2,
    "f0": Data(np.zeros(2, np.float32), "integer", alias="amplitudes"),
    "amplitudes": Data(_BANDS, "integer"),
    "length": 16,
    "bins": 4,
}
ROWS = {
    **{
        f"audio.{name}": call(x=_ANY)
        for name in ("float_to_pcm", "mu_law_compress", "mu_law_encode", "ddsp.exp_sigmoid")
    },
    **{f"audio.{name}": call(**_PAIR) for name in ("log_spectral_distance", "multi_resolution_stft_loss")},
    **{f"audio.{name}": call(sample_rate=4000.0) for name in ("log_mel_frames", "log_mel_statistics")},
    **{f"audio.{name}": call() for name in ("onset_envelope", "chroma")},
    "audio.mu_law_expand": call(y=_ANY),
    "audio.ddsp.accumulate_phase": call(f0=Data(_F0, "integer, shape")),
    "audio.ddsp.harmonics": call(
        f0=Data(_F0, "integer", alias="amplitudes"), amplitudes=Data(np.ones((16, 2), np.float32), "integer")
    ),
    "audio.ddsp.upsample": call(controls=Data(_BANDS, "integer; nan: NaN gives NaN"), **_ONE_SAMPLE),
    "audio.ddsp.filtered_noise": call(**_ONE_SAMPLE),
    "audio.ddsp.reverberate": call(x=Data(_X, "shape", alias="response"), response=Data(_X[:4], "shape")),
    "audio.ddsp.analyse": call(
        x=Data(_X[1:2], "integer", alias="f0"),
        f0=Data(np.full(2, 100.0, np.float32), "integer"),
        bands=2,
        hop=1,
        window=8,
    ),
    "audio.ddsp.refine_f0": call(
        lambda sample_rate, x=_X, f0=0.45, **kwargs: ddsp.refine_f0(x, f0 * sample_rate, sample_rate, **kwargs),
        window=8,
    ),
    "audio.ddsp.refine_f0/sound": call(
        hop=4, window=32, x=Data(_X, "integer", alias="f0"), f0=Number(100.0, low=0.0, high=500.0)
    ),
    "audio.ddsp.synthesise": call(**_ONE_SAMPLE),
    "audio.ddsp.loudness": call(floor=0.001),
    "audio.ddsp.note_controls": call(length=2, bands=2, hop=1, window=8),
    "audio.pcm_to_float": call(codes=Classes(np.array([0, 1, -2]), "negative: signed", num_classes=2), bits=2),
    "audio.mu_law_decode": call(codes=Classes(_CODES[::2], num_classes=2), num_codes=2),
    "audio.normalise_peak": call(sound=Data(_X, "integer, shape"), peak=0.5),
    "audio.pulse_train": call(pitch=Data(np.array([69.0], np.float32), "integer")),
    "audio.harmonic_tones": call(roll=Data(_ROLL, "integer"), count=2, lowest=0, highest=127),
    "audio.pitch_velocity_features": call(
        pitch=Classes(np.array([60, 61]), num_classes=128),
        velocity=Classes(np.array([60, 61]), num_classes=128),
        lowest=0,
        highest=127,
    ),
    "audio.spectral_convergence": call(
        estimate=Data(np.ones((2, 3), np.float32), "integer"),
        reference=Data(np.full((2, 3), 2.0, np.float32), "integer"),
    ),
    "audio.correlation": call(a=Data(_X[None], "integer"), b=Data(_X[None] ** 2, "integer")),
    "audio.seam_roughness": call(
        x=Data(_X, "integer: integers count as floats; a constant signal gives NaN", alias="seams"),
        seams=Count(5, least=2, of=lambda seam: [seam]),
    ),
    "audio.spectrogram_images": call(sounds=Data(np.stack([_X] * 2), "integer")),
    "audio.resample": call(rate_from=2.0, rate_to=1.0),
    "audio.read": call(in_folder(_read), sample_rate=1),
    "audio.write": call(
        in_folder(_write), x=Data(_X, "integer; shape: a first axis holds the channels"), sample_rate=1000
    ),
    "data.to_unit": call(x=Classes(_CODES, num_classes=4)),
    "data.from_unit": call(x=_ANY, bins=4),
    "data.dequantise": call(key=KEY, x=Classes(_CODES, num_classes=4)),
    "data.batch_at": call(
        arrays=Data(
            np.ones(3, np.float32),
            "shape; integer: any rows; nan: any rows",
            alias="x",
            of=lambda x: {"x": x, "label": _CODES},
        ),
        seed=0,
        step=Count(1, least=0, most=2**61 - 1),
        batch_size=2,
    ),
    "data.load": call(
        in_folder(lambda folder, name, split: data.load(name, split, folder).x),
        name=Choice("sklearn_digits"),
        split=Choice("train[:1%]"),
    ),
    "io.write_atomic": call(
        in_folder(lambda folder, content: io.write_atomic(f"{folder}/a.txt", content).read_text()),
        content=Shaped(np.frombuffer(b"text", np.uint8).tobytes()),
    ),
}
