"""Functions of data name arguments with which other data would be read, drawn or written."""

import jax
import numpy as np
from errors import raising

from scorekit import data
from scorekit.data.events import EventCode
from scorekit.data.midi import write_midi, write_score
from scorekit.data.phrases import Note
from scorekit.data.streams import local_rows

KEY, CODE, NOTE = jax.random.key(0), EventCode(lowest=36, highest=84), Note(60, 80, 0.0, 1.0)
ROLL, ROWS = np.ones((4, 128), np.uint8), [{"x": 1.0}]


def encoded(note=NOTE, *programs, **options):
    return lambda: CODE.encode([note], *programs, **options)


def written(note=NOTE, *programs, count=1, **options):
    return lambda: write_score("nowhere/a.mid", [note] * count, *programs, **options)


def batch(**arrays):
    return lambda: data.batch_at(arrays, seed=0, step=0, batch_size=2)


test_errors_name_the_argument = raising(
    [
        ("arrays must", batch()),
        ("arrays must", batch(x=np.zeros((0, 2)))),
        ("arrays must", batch(x=np.zeros(2), y=np.zeros(3))),
        ("source must", lambda: data.stream([], seed=0, batch_size=1)),
        ("source must", lambda: data.stream(iter(ROWS), seed=0, batch_size=1)),  # type: ignore[arg-type]
        ("batch_size must", lambda: local_rows(6, 0, 4)),
        ("process_index must", lambda: local_rows(8, 4, 4)),
        *(
            ("x must", lambda augment=augment, shape=shape: augment(KEY, np.zeros(shape, np.float32)))
            for augment in (data.random_flip, lambda key, x: data.random_crop(key, x, 1), data.edm_augment)
            for shape in ((8, 8, 3), (0, 8, 8, 3), (2, 8, 8))
        ),
        ("padding must", lambda: data.random_crop(KEY, np.zeros((2, 8, 8, 1), np.float32), 8)),
        ("lowest <= highest", lambda: EventCode(lowest=90, highest=80)),
        ("tokens must", lambda: CODE.decode([0, 232])),
        ("tokens must", lambda: CODE.names(np.array([-1]))),
        ("tokens must", lambda: CODE.decode([0.5])),
        ("tokens must", lambda: CODE.decode(np.zeros((1, 2), int))),
        ("names must", lambda: CODE.tokens(["on 200"])),
        ("notes must", encoded(Note(60, 80, 0.0, 20000.0))),
        ("notes must", encoded(Note(30, 80, 0.0, 1.0))),
        ("velocity must", encoded(Note(60, 0, 0.0, 1.0))),
        ("start and end must", encoded(Note(60, 80, 1.0, float("nan")))),
        ("programs must", encoded(NOTE, [1, 2])),
        ("programs must", encoded(NOTE, 128)),
        ("programs must", encoded(NOTE, 2.5)),
        ("seconds must", encoded(seconds=float("nan"))),
        ("pitch must", written(Note(128, 80, 0.0, 1.0))),
        ("velocity must", written(Note(60, 0, 0.0, 1.0))),
        ("start and end must", written(Note(60, 80, 1.0, 0.5))),
        ("programs must", written(NOTE, 128)),
        ("programs must", written(NOTE, [1, 2])),
        ("programs must", written(NOTE, range(16), count=16)),
        ("seconds must", written(seconds=0.5)),
        ("roll must", lambda: write_midi("nowhere/a.mid", ROLL[:, :88])),
        ("roll must", lambda: write_midi("nowhere/a.mid", ROLL[:0])),
    ]
)
