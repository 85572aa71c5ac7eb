"""Data of any size: streams, folders, tar files, prefetching; augmentation of images."""

import io
import itertools
import tarfile
import tempfile

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Classes, Data, Number, call
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


def _divided(process_index=0, process_count=2, batch_size=1):
    """Rows that the processes can divide equally, whichever of the three is given."""
    count = process_count + process_index
    return {"process_index": process_index, "process_count": count, "batch_size": batch_size * count}


def _stream(process_index=0, process_count=2, batch_size=1, **kwargs):
    with data.stream(_EXAMPLES, **_divided(process_index, process_count, batch_size), **kwargs) as batches:
        return next(batches)["x"]


ROWS: dict[str, Call] = {
    "data.stream": call(
        _stream,
        seed=0,
        workers=0,
    ),
    "data.local_rows": call(lambda **kwargs: data.local_rows(**_divided(**kwargs))),
    "data.prefetch": call(_prefetch, size=2),
    "data.folder": call(_folder),
    "data.tar": call(_tar),
    "data.read_picture": call(_read_picture),
    "data.open_images": call(_open_images, name=Choice("sklearn_digits"), split=Choice("train[:1%]")),
    "data.random_flip": call(
        lambda **kwargs: data.random_flip(_KEY, **kwargs),
        x=Data(_IMAGES, _ANY_DTYPE),
    ),
    "data.random_crop": call(
        lambda **kwargs: data.random_crop(_KEY, **kwargs),
        x=Data(_IMAGES, _ANY_DTYPE),
        padding=1,
    ),
    "data.edm_augment": call(
        lambda **kwargs: data.edm_augment(_KEY, **kwargs),
        x=Data(_IMAGES),
    ),
}

_SOUND = {"sample_rate": 4000.0, "seconds": 0.1}
ROWS |= {
    "data.synthesis.render_note": call(
        lambda **kwargs: data.synthesis.render_note(data.soundfont.read_soundfont(), **kwargs),
        program=0,
        pitch=69,
        velocity=100,
        held=0.05,
        **_SOUND,
    ),
    "data.phrases.piano_roll": call(
        lambda **kwargs: data.phrases.piano_roll([data.phrases.Note(60, 100, 0.0, 0.1)], **kwargs),
        frames=3,
    ),
    "data.phrases.render_phrase": call(
        lambda **kwargs: data.phrases.render_phrase(
            data.soundfont.read_soundfont(), notes=[data.phrases.Note(60, 100, 0.0, 0.1)], **kwargs
        ),
        program=0,
        **_SOUND,
    ),
}

_ROLL = np.zeros((3, 128), np.int32)
_ROLL[1, 60] = 100


def _write_and_read_roll(roll, rate, program):
    with tempfile.TemporaryDirectory() as folder:
        data.midi.write_midi(f"{folder}/a.mid", roll, rate=rate, program=program)
        return data.midi.read_midi(f"{folder}/a.mid", rate=rate)


def _write_and_read_notes(programs, seconds):
    with tempfile.TemporaryDirectory() as folder:
        data.midi.write_score(f"{folder}/a.mid", [data.phrases.Note(60, 100, 0.0, 0.1)], programs, seconds)
        return np.asarray(data.midi.read_score(f"{folder}/a.mid").notes)


def _of_silence(read, **kwargs):
    """Silence of 1000 s, in which every range of pitches is allowed."""
    with tempfile.TemporaryDirectory() as folder:
        data.midi.write_score(f"{folder}/a.mid", [], seconds=1000.0)
        return read(f"{folder}/a.mid", **kwargs)


ROWS |= {
    "data.midi.read_midi": call(lambda **kwargs: _of_silence(data.midi.read_midi, **kwargs)),
    "data.midi.write_midi": call(_write_and_read_roll, roll=Classes(_ROLL, num_classes=128), rate=62.5, program=0),
    "data.midi.read_score": call(lambda **kwargs: _of_silence(data.midi.read_score, **kwargs)),
    "data.midi.write_score": call(
        _write_and_read_notes, programs=Classes(np.array([73]), num_classes=128), seconds=Number(1.0, low=0.0)
    ),
    "data.midi.notes_of_roll": call(
        lambda **kwargs: np.asarray(data.midi.notes_of_roll(**kwargs)),
        roll=Classes(_ROLL, num_classes=128),
    ),
}

EXEMPT = {
    **{
        f"io.{name}": "takes files; tests/io/test_files_of_data.py has its errors"
        for name in ("check_unpacked", "parse_json", "read_arrays", "read_file", "regular_file", "resolved")
    },
    "data.CaptionEncoder": "a record, which encode_captions takes",
    "data.CaptionedSet": "a result",
    "data.load_captioned": "fetches pictures for its valid call; tests/data/builders/test_emoji.py has its errors",
    "data.EncodedCaptions": "a result",
    "data.load_caption_encoder": "takes a path; tests/data/test_captions.py has its errors",
    "data.encode_captions": "takes a list of texts; tests/data/test_captions.py has its errors",
    "data.Prefetch": "a result of prefetch",
    "data.Source": "a protocol",
    "data.Stream": "a result of stream",
}
