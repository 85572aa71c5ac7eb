"""Real scores of the package music21 (``pip install 'scorekit[scores]'``): chorales, folk songs and fiddle tunes.

They are read from the installed package, whose corpus has terms of its own (docs/music.md), and kept as notes in
``data_dir``. A quarter note lasts eight steps of 64 ms; repeats are not played.
"""

import functools
import importlib
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from experiments.cli.config import ConfigError
from experiments.cli.fields import Text
from experiments.data import rolls
from experiments.data.roll_sets import WINDOW, Rolls, Song, key_of
from scorekit.arguments import OneOf
from scorekit.data.phrases import Note
from scorekit.io import write_atomic

COLLECTIONS: dict[str, str] = {"chorales": "bach", "fiddle": "ryansMammoth", "folk": "essenFolksong"}
"""Folders of the corpus."""
QUARTER = 8 * rolls.STEP
_VOICES = {1: (4,), 2: (4, 0), 3: (4, 2, 0), 4: (4, 3, 1, 0), 5: (4, 3, 2, 1, 0)}
"""Voices of the parts from the highest, by their number."""
_EVERY = 10
"""One piece of so many is held out."""

Piece = list[list[Note]]
"""The notes of each part."""


def song_of_parts(parts: Sequence[Sequence[Note]]) -> Song:
    """A song with a voice for each part, from the highest; notes outside 36 to 84 are moved by octaves.

    Raises:
      ValueError: for no parts or more than five, or parts without notes.

    >>> song = song_of_parts([[Note(72, 64, 0.0, 0.128)], [Note(12, 64, 0.064, 0.128)]])
    >>> song.states[:2].tolist()
    [[0, 0, 0, 0, 73], [1, 0, 0, 0, 74]]
    """
    if len(parts) not in _VOICES or not any(parts):
        raise ValueError(f"parts must be from 1 to {rolls.VOICES}, with notes, got {len(parts)}")
    within = lambda p: p + 12 * max(-((p - rolls.LOWEST) // 12), 0) - 12 * max(-((rolls.HIGHEST - p) // 12), 0)
    played = [rolls.quantise(note._replace(pitch=within(note.pitch)) for note in part) for part in parts]
    steps = max(note.last for part in played for note in part)
    states = np.zeros((max(steps, WINDOW), rolls.VOICES), np.uint8)
    for voice, part in zip(_VOICES[len(parts)], played, strict=True):
        for note in part:
            rolls.write(states, voice, note)
    return Song(states, key_of(rolls.to_played(states)), 0)


def read_pieces(collection: str) -> Iterator[Piece]:
    """The pieces of a collection that have one to five parts; the highest note of a chord counts."""
    corpus, converter = (importlib.import_module(f"music21.{name}") for name in ("corpus", "converter"))
    paths = sorted((Path(str(corpus.__file__)).parent / COLLECTIONS[collection]).glob("*.abc"))
    opened = corpus.chorales.Iterator() if collection == "chorales" else map(converter.parse, paths)
    for score in itertools.chain.from_iterable(getattr(found, "scores", [found]) for found in opened):
        parts = []
        for part in score.parts or [score]:
            found = part.stripTies().flatten().notes
            spans = [
                (float(x.offset), float(x.offset + x.quarterLength), max(p.midi for p in x.pitches))
                for x in found
                if x.pitches and "Harmony" not in x.classes
            ]
            parts.append([Note(pitch, 64, QUARTER * start, QUARTER * end) for start, end, pitch in spans])
        if len(parts) in _VOICES and all(parts):
            yield parts


def _kept(path: Path, collection: str, most: int | None) -> list[Piece]:
    """The first pieces, from the file of an earlier call or from the package."""
    if not path.exists():
        pieces = list(itertools.islice(read_pieces(collection), most))
        rows = [(i, j, *note) for i, piece in enumerate(pieces) for j, part in enumerate(piece) for note in part]
        file = io.BytesIO()
        np.save(file, np.asarray(rows, np.float64))
        write_atomic(path, file.getvalue())
    found: dict[int, dict[int, list[Note]]] = {}
    for i, j, pitch, velocity, start, end in np.load(path):
        found.setdefault(int(i), {}).setdefault(int(j), []).append(Note(int(pitch), int(velocity), start, end))
    return [list(parts.values()) for parts in found.values()]


@dataclass(kw_only=True, eq=False)
class Scores(Rolls):
    """Chorales, folk songs or fiddle tunes; every tenth piece is held out.

    The test set has the consecutive windows of each piece.

    Args:
      set: "chorales", "fiddle" or "folk".
      data_dir: folder that the notes are kept in, to be read again.
    """

    consecutive = True

    set: Annotated[str, OneOf(*COLLECTIONS)] = "chorales"
    data_dir: Annotated[str, Text("a folder")] = "~/tensorflow_datasets"

    @property
    def name(self) -> str:
        """The name of the collection."""
        return f"scores/{self.set}"

    @functools.cached_property
    def both(self):
        train, test = self._opened
        most = None if train is None or test is None else max(math.ceil(train * _EVERY / (_EVERY - 1)), test * _EVERY)
        path = Path(self.data_dir).expanduser() / "scores" / f"{self.set}_{most or 'all'}.npy"
        try:
            pieces = _kept(path, self.set, most)
        except ImportError as error:
            raise ConfigError(f"config.data: scores need music21, {error}; pip install 'scorekit[scores]'") from error
        songs = [song_of_parts(piece) for piece in pieces]
        held_out = songs[_EVERY - 1 :: _EVERY]
        rest = [song for i, song in enumerate(songs) if i % _EVERY != _EVERY - 1]
        return rest[:train], held_out[:test]
