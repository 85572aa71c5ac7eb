"""Data of any size: streams, folders, tar files, prefetching; augmentation of images."""

import itertools
import os
import tarfile

import numpy as np
from PIL import Image

from scorekit import audio, data
from scorekit.data.soundfont import _DEFAULTS as DEFAULTS
from valid_calls.common import KEY, in_folder
from valid_calls.kinds import Choice, Classes, Data, Number, call

_IMAGES = np.linspace(-1.0, 1.0, 32, dtype=np.float32).reshape(2, 4, 4, 1)
_EXAMPLES = [{"x": np.full(2, i, np.float32)} for i in range(6)]


def _with_picture(read):
    """A function of the path of a picture."""

    def run(folder, **kwargs):
        Image.new("L", (4, 4)).save(f"{folder}/1.png")
        return read(f"{folder}/1.png", **kwargs)

    return in_folder(run)


def _folder(path, **kwargs):
    return data.folder(os.path.dirname(path), **kwargs)[0]["x"]


def _tar(path, **kwargs):
    with tarfile.open(f"{path}.tar", "w") as file:
        file.add(path, "1.png")
    return data.tar(f"{path}.tar", **kwargs)[0]["x"]


def _recordings(path, **kwargs):
    audio.write(f"{path}.wav", np.zeros(99), 8000)
    return data.recordings(os.path.dirname(path), **kwargs)[0]["x"]


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


_SOUND = {"sample_rate": 4000.0, "seconds": 0.1}
_ROLL = np.zeros((3, 128), np.int32)
_ROLL[1, 60] = 100


def _write_and_read_roll(folder, roll, rate, program):
    data.midi.write_midi(f"{folder}/a.mid", roll, rate=rate, program=program)
    return data.midi.read_midi(f"{folder}/a.mid", rate=rate)


def _write_and_read_notes(folder, programs, seconds):
    data.midi.write_score(f"{folder}/a.mid", [data.phrases.Note(60, 100, 0.0, 0.1)], programs, seconds)
    return np.asarray(data.midi.read_score(f"{folder}/a.mid").notes)


def _of_silence(read):
    """Silence of 1000 s, in which every range of pitches is allowed."""

    def run(folder, **kwargs):
        data.midi.write_score(f"{folder}/a.mid", [], seconds=1000.0)
        return read(f"{folder}/a.mid", **kwargs)

    return in_folder(run)


def _one_tone():
    """A font that plays one sine on every key of its only instrument."""
    tone = np.sin(0.1 * np.arange(4410, dtype=np.float32))
    every = {"pitches": (0, 127), "velocities": (0, 127)}
    zone = data.soundfont.Zone(**every, sound=tone, loop=None, rate=44100.0, root=69.0, parameters=DEFAULTS)
    return data.soundfont.SoundFont(presets={(0, 0): (zone,)}, names={})


USUAL = {
    "key": KEY,
    "program": 0,
    "x": Data(_IMAGES, "integer; nan: pixels are moved, not computed with"),
    "font": _one_tone(),
    "notes": [data.phrases.Note(60, 100, 0.0, 0.1)],
    "roll": Classes(_ROLL, num_classes=128),
}
ROWS = {
    "data.stream": call(_stream, seed=0, workers=0),
    "data.prefetch": call(_prefetch, size=2),
    "data.recordings": call(_with_picture(_recordings), length=64, sample_rate=4000),
    "data.folder": call(_with_picture(_folder)),
    "data.tar": call(_with_picture(_tar)),
    "data.read_picture": call(_with_picture(data.read_picture)),
    "data.open_images": call(
        in_folder(lambda folder, **given: data.open_images(data_dir=folder, **given)[0]["x"]),
        name=Choice("sklearn_digits"),
        split=Choice("train[:1%]"),
    ),
    "data.random_flip": call(),
    "data.random_crop": call(padding=1),
    "data.edm_augment": call(x=Data(_IMAGES)),
    "data.synthesis.render_note": call(pitch=69, velocity=100, held=0.05, **_SOUND),
    "data.phrases.piano_roll": call(frames=3),
    "data.phrases.render_phrase": call(**_SOUND),
    "data.midi.read_midi": call(_of_silence(data.midi.read_midi)),
    "data.midi.write_midi": call(in_folder(_write_and_read_roll), roll=USUAL["roll"], program=0, rate=62.5),
    "data.midi.read_score": call(_of_silence(data.midi.read_score)),
    "data.midi.write_score": call(
        in_folder(_write_and_read_notes),
        programs=Classes(np.array([73]), num_classes=128),
        seconds=Number(1.0, low=0.0),
    ),
    "data.midi.notes_of_roll": call(lambda **kwargs: np.asarray(data.midi.notes_of_roll(**kwargs)), roll=USUAL["roll"]),
}
