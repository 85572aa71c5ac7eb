"""Data of any size: streams, folders, tar files, prefetching; augmentation of images."""

import io
import itertools
import tarfile
import tempfile

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Classes, Count, Data, Number, call
from scorekit import data

_KEY = jax.random.key(0)
_IMAGES = np.linspace(-1.0, 1.0, 32, dtype=np.float32).reshape(2, 4, 4, 1)
_ANY_DTYPE = {"integer": "any dtype", "nan": "pixels are moved, not computed with"}
_EXAMPLES = [{"x": np.full(2, i, np.float32)} for i in range(6)]


def _picture() -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.new("L", (4, 4)).save(content, "png")
    return content.getvalue()


def _folder(**kwargs):
    with tempfile.TemporaryDirectory() as path:
        with open(f"{path}/1.png", "wb") as file:
            file.write(_picture())
        return data.folder(path, **kwargs)[0]["x"]


def _read_picture(**kwargs):
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(_picture())
        file.flush()
        return data.read_picture(file.name, **kwargs)


def _tar(**kwargs):
    with tempfile.TemporaryDirectory() as path:
        content = _picture()
        with tarfile.open(f"{path}/1.tar", "w") as file:
            info = tarfile.TarInfo("1.png")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        return data.tar(f"{path}/1.tar", **kwargs)[0]["x"]


def _open_images(**kwargs):
    with tempfile.TemporaryDirectory() as path:
        return data.open_images(data_dir=path, **kwargs)[0]["x"]


def _prefetch(size):
    with data.prefetch(itertools.repeat(np.ones(2, np.float32)), lambda x: x, size) as items:
        return next(items)


def _stream(**kwargs):
    with data.stream(_EXAMPLES, **kwargs) as batches:
        return next(batches)["x"]


ROWS: dict[str, Call] = {
    "data.stream": call(
        _stream,
        seed=Count(0, least=0),
        batch_size=Count(4),
        start=Count(2, least=0, most=2**62 - 1),
        process_index=Count(1, least=0),
        process_count=Count(2),
        workers=Count(0, least=0),
        on_error="skip",
    ),
    "data.local_rows": call(
        data.local_rows, batch_size=Count(4), process_index=Count(1, least=0), process_count=Count(2)
    ),
    "data.prefetch": call(_prefetch, size=Count(2)),
    "data.folder": call(_folder, size=Count(2), mode=Choice("RGB")),
    "data.tar": call(_tar, size=Count(2), mode=Choice("RGB")),
    "data.read_picture": call(_read_picture, size=Count(2), mode=Choice("RGB")),
    "data.open_images": call(_open_images, name=Choice("sklearn_digits"), split=Choice("train[:1%]")),
    "data.random_flip": call(
        lambda **kwargs: data.random_flip(_KEY, **kwargs),
        x=Data(_IMAGES, _ANY_DTYPE),
        probability=Number(0.5, low=-0.1, high=1.1),
    ),
    "data.random_crop": call(
        lambda **kwargs: data.random_crop(_KEY, **kwargs),
        x=Data(_IMAGES, _ANY_DTYPE),
        padding=Count(1, least=0),
        mode=Choice("reflect"),
    ),
    "data.edm_augment": call(
        lambda **kwargs: data.edm_augment(_KEY, **kwargs),
        x=Data(_IMAGES),
        probability=Number(0.5, low=-0.1, high=1.1),
        flip_probability=Number(0.5, low=-0.1, high=1.1),
    ),
}

_SOUND = {"sample_rate": Number(4000.0, low=0.0), "seconds": Number(0.1, low=0.0)}
ROWS |= {
    "data.phrases.random_phrase": call(
        data.phrases.random_phrase, seed=Count(0, least=0), seconds=Number(4.0, low=0.0)
    ),
    "data.synthesis.render_note": call(
        lambda **kwargs: data.synthesis.render_note(data.soundfont.read_soundfont(), **kwargs),
        program=Count(0, least=0),
        pitch=Count(69, least=0),
        velocity=Count(100),
        held=Number(0.05, low=0.0),
        bank=Count(0, least=0),
        **_SOUND,
    ),
    "data.phrases.piano_roll": call(
        lambda **kwargs: data.phrases.piano_roll([data.phrases.Note(60, 100, 0.0, 0.1)], **kwargs),
        frames=Count(3, least=0),
        frame_rate=Number(62.5, low=0.0),
    ),
    "data.phrases.render_phrase": call(
        lambda **kwargs: data.phrases.render_phrase(
            data.soundfont.read_soundfont(), notes=[data.phrases.Note(60, 100, 0.0, 0.1)], **kwargs
        ),
        program=Count(0, least=0),
        **_SOUND,
    ),
}

_ROLL = np.zeros((3, 128), np.int32)
_ROLL[1, 60] = 100


def _write_and_read_roll(roll, rate, program):
    with tempfile.TemporaryDirectory() as folder:
        data.midi.write_midi(f"{folder}/a.mid", roll, rate=rate, program=program)
        return data.midi.read_midi(f"{folder}/a.mid", rate=rate)


def _write_and_read_notes(programs, seconds, lowest, highest, out_of_range):
    with tempfile.TemporaryDirectory() as folder:
        data.midi.write_score(f"{folder}/a.mid", [data.phrases.Note(60, 100, 0.0, 0.1)], programs, seconds)
        score = data.midi.read_score(f"{folder}/a.mid", lowest=lowest, highest=highest, out_of_range=out_of_range)
        return np.asarray(score.notes)


_MIDI = call(
    _write_and_read_roll,
    roll=Classes(_ROLL, num_classes=128),
    rate=Number(62.5, low=0.0, high=1001.0),
    program=Count(0, least=0, alias="programs"),
)
_SCORE = call(
    _write_and_read_notes,
    programs=Classes(np.array([73]), num_classes=128),
    seconds=Number(1.0, low=0.0),
    lowest=Count(36, least=0),
    highest=Count(84, least=0),
    out_of_range=Choice("octave"),
)
ROWS |= {
    "data.midi.read_midi": _MIDI,
    "data.midi.write_midi": _MIDI,
    "data.midi.read_score": _SCORE,
    "data.midi.write_score": _SCORE,
    "data.midi.notes_of_roll": call(
        lambda **kwargs: np.asarray(data.midi.notes_of_roll(**kwargs)),
        roll=Classes(_ROLL, num_classes=128),
        rate=Number(62.5, low=0.0),
    ),
}

EXEMPT = {
    "data.soundfont.default_path": "takes no values",
    **{
        f"files.{name}": "takes files; tests/test_files_of_data.py has its errors"
        for name in ("check_unpacked", "parse_json", "read_arrays", "read_file", "regular_file", "resolved")
    },
    "data.CaptionEncoder": "a record, which encode_captions takes",
    "data.CaptionedSet": "a result",
    "data.load_captioned": "fetches pictures for its valid call; tests/data/test_emoji.py has its errors",
    "data.EncodedCaptions": "a result",
    "data.load_caption_encoder": "takes a path; tests/data/test_captions.py has its errors",
    "data.encode_captions": "takes a list of texts; tests/data/test_captions.py has its errors",
    "data.Prefetch": "a result of prefetch",
    "data.Source": "a protocol",
    "data.Stream": "a result of stream",
}
