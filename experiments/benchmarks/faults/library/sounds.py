"""Audio: samples, conditions, distances, music and files; data sets, quantisation and files."""

# pyright: reportArgumentType=false

import tempfile

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Classes, Count, Data, Shaped, call
from scorekit import audio, data, io

_KEY = jax.random.key(0)
_FLOATS = {"integer": "integers count as floats"}
_FREE = _FLOATS | {"shape": "leading axes are free: signals of one sample"}
_ANY = _FLOATS | {"shape": "any shape is allowed", "empty": "no value gives no value"}
_X = np.sin(np.arange(16, dtype=np.float32))
_RATE = 1000.0
_PAIR = {"x": Data(_X, _FLOATS), "y": Data(_X + 0.1, _FLOATS)}
_CODES = np.array([0, 3, 1])
_ROLL = np.zeros((1, 2, 128), np.float32)


def _with_folder(function):
    def run(**kwargs):
        with tempfile.TemporaryDirectory() as folder:
            return function(folder, **kwargs)

    return run


def _write(folder, x, sample_rate, subtype="PCM_16"):
    audio.write(f"{folder}/a.wav", x, sample_rate, subtype=subtype)
    return audio.read(f"{folder}/a.wav").x


def _read(folder, sample_rate):
    audio.write(f"{folder}/a.wav", _X, 2)
    return audio.read(f"{folder}/a.wav", sample_rate=sample_rate).x


ROWS: dict[str, Call] = {
    "audio.float_to_pcm": call(audio.float_to_pcm, x=Data(_X, _ANY)),
    "audio.pcm_to_float": call(
        audio.pcm_to_float, codes=Classes(np.array([0, 1, -2]), {"negative": "signed"}, num_classes=2), bits=2
    ),
    "audio.mu_law_compress": call(audio.mu_law_compress, x=Data(_X, _ANY)),
    "audio.mu_law_expand": call(audio.mu_law_expand, y=Data(_X, _ANY)),
    "audio.mu_law_encode": call(audio.mu_law_encode, x=Data(_X, _ANY)),
    "audio.mu_law_decode": call(audio.mu_law_decode, codes=Classes(_CODES[::2], num_classes=2), num_codes=2),
    "audio.normalise_peak": call(audio.normalise_peak, sound=Data(_X, _FREE), peak=0.5),
    "audio.pulse_train": call(
        audio.pulse_train, pitch=Data(np.array([69.0], np.float32), _FLOATS), length=16, sample_rate=_RATE
    ),
    "audio.harmonic_tones": call(
        audio.harmonic_tones,
        roll=Data(_ROLL, _FLOATS),
        length=16,
        sample_rate=_RATE,
        count=2,
        lowest=0,
        highest=127,
    ),
    "audio.pitch_velocity_features": call(
        audio.pitch_velocity_features,
        pitch=Classes(np.array([60, 61]), num_classes=128),
        velocity=Classes(np.array([60, 61]), num_classes=128),
        lowest=0,
        highest=127,
    ),
    "audio.spectral_convergence": call(
        audio.spectral_convergence,
        estimate=Data(np.ones((2, 3), np.float32), _FLOATS),
        reference=Data(np.full((2, 3), 2.0, np.float32), _FLOATS),
    ),
    "audio.log_spectral_distance": call(audio.log_spectral_distance, **_PAIR, sample_rate=_RATE),
    "audio.multi_resolution_stft_loss": call(audio.multi_resolution_stft_loss, **_PAIR, sample_rate=_RATE),
    "audio.log_mel_frames": call(
        audio.log_mel_frames,
        x=Data(_X, _FREE),
        sample_rate=4000.0,
    ),
    "audio.log_mel_statistics": call(audio.log_mel_statistics, x=Data(_X, _FREE), sample_rate=4000.0),
    "audio.onset_envelope": call(audio.onset_envelope, x=Data(_X, _FREE), sample_rate=_RATE),
    "audio.chroma": call(audio.chroma, x=Data(_X, _FREE), sample_rate=_RATE),
    "audio.correlation": call(audio.correlation, a=Data(_X[None], _FLOATS), b=Data(_X[None] ** 2, _FLOATS)),
    "audio.seam_roughness": call(
        lambda x, seam: audio.seam_roughness(x, [seam]),
        x=Data(_X, {"integer": "integers count as floats; a constant signal gives NaN"}, alias="seams"),
        seam=Count(5, least=2, alias="seams"),
    ),
    "audio.spectrogram_images": call(audio.spectrogram_images, sounds=Data(np.stack([_X] * 2), _FLOATS)),
    "audio.resample": call(audio.resample, x=Data(_X, _FREE), rate_from=2.0, rate_to=1.0),
    "audio.read": call(_with_folder(_read), sample_rate=1),
    "audio.write": call(
        _with_folder(_write), x=Data(_X, _FLOATS | {"shape": "a first axis holds the channels"}), sample_rate=1000
    ),
    "data.to_unit": call(data.to_unit, x=Classes(_CODES, num_classes=4), bins=Count(4, least=2, alias="x")),
    "data.from_unit": call(data.from_unit, x=Data(_X, _ANY), bins=Count(4, least=2)),
    "data.dequantise": call(
        lambda x, bins: data.dequantise(_KEY, x, bins),
        x=Classes(_CODES, num_classes=4),
        bins=Count(4, least=2, alias="x"),
    ),
    "data.batch_at": call(
        lambda x, **kwargs: data.batch_at({"x": x, "label": _CODES}, **kwargs),
        x=Data(np.ones(3, np.float32), {"integer": "any rows", "shape": "any rows", "nan": "any rows"}),
        seed=Count(0, least=0),
        step=Count(1, least=0, most=2**61 - 1),
        batch_size=Count(2),
    ),
    "data.load": call(
        _with_folder(lambda folder, name, split: data.load(name, split, folder).x),
        name=Choice("sklearn_digits"),
        split=Choice("train[:1%]"),
    ),
    "io.write_atomic": call(
        _with_folder(lambda folder, content: io.write_atomic(f"{folder}/a.txt", content).read_text()),
        content=Shaped(np.frombuffer(b"text", np.uint8).tobytes()),
    ),
}

EXEMPT = {
    "io.as_path": "takes any path",
    "io.check_regular": "takes any path",
    "io.read_json": "takes a path; tests/io/test_files.py has its errors",
    "io.in_bucket": "takes any path",
    "data.ImageSet": "a result of load",
    "data.NoteSet": "a result of load_notes",
    "data.PhraseSet": "a result of load_phrases",
    "data.load_notes": "renders recordings for its valid call; its errors are those of data.load and its own tests",
    "data.load_phrases": "renders recordings for its valid call; its errors are those of data.load and its own tests",
}
