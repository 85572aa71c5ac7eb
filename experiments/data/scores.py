"""Real scores of the package music21 (``pip install 'scorekit[scores]'``): chorales, folk songs and fiddle tunes.

They are read from the installed package, whose corpus has terms of its own (docs/music.md), and kept as notes in
``config.data.data_dir``. A quarter note lasts eight steps of 64 ms; repeats are not played.
"""

import importlib
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.cli.config import Config, ConfigError, require
from experiments.data import rolls
from experiments.data.roll_sets import WINDOW, MidiFiles, Song, key_of
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
            state = 2 * (note.pitch - rolls.LOWEST) + 1
            states[note.first : note.last, voice] = state + 1
            states[note.first, voice] = state
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


class Scores(MidiFiles):
    """``scores/chorales``, ``scores/folk`` or ``scores/fiddle``; every tenth piece is held out.

    ``train_split`` and ``test_split`` may name the first pieces, as ``train[:100]``. The test set has the consecutive
    windows of each piece.
    """

    image_fields = (*MidiFiles.image_fields, "path")

    @classmethod
    def check(cls, config):
        super(MidiFiles, cls).check(config)
        allowed = ", ".join(f"scores/{name}" for name in COLLECTIONS)
        require(config.data.name.partition("/")[2] in COLLECTIONS, "data.name", config.data.name, f"one of {allowed}")

    def _load(self, config: Config):
        collection, sizes = config.data.name.partition("/")[2], self.sizes(config)
        train, test = sizes["train"], sizes["test"]
        most = None if train is None or test is None else max(math.ceil(train * _EVERY / (_EVERY - 1)), test * _EVERY)
        path = Path(config.data.data_dir).expanduser() / "scores" / f"{collection}_{most or 'all'}.npy"
        try:
            pieces = _kept(path, collection, most)
        except ImportError as error:
            raise ConfigError(
                f"config.data.name={config.data.name}: needs music21, {error}; pip install 'scorekit[scores]'"
            ) from error
        songs = [song_of_parts(piece) for piece in pieces]
        held_out = [song for i, song in enumerate(songs) if i % _EVERY == _EVERY - 1]
        rest = [song for i, song in enumerate(songs) if i % _EVERY != _EVERY - 1]
        return rest[:train], held_out[:test]
