"""Sets of music in voices of 64 ms steps: phrases drawn from seeds, and a folder of MIDI files."""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from experiments.cli.config import require
from experiments.cli.fields import Text
from experiments.data import rolls
from experiments.data.dataset import Batch, Dataset, beside_held_out, divided, evenly
from experiments.data.display import Pictures
from experiments.data.keys import KEYS, key_of_notes
from experiments.data.sources import reading, split_folders
from scorekit.arguments import OneOf
from scorekit.data import midi
from scorekit.data.phrases import PROGRAMS, Note, random_phrase
from scorekit.io import check_unpacked

WINDOW = 64
"""Steps of an example: 4.096 s."""
FIRST_TEST_SEED = 10**9
"""The first test seed, as of the rendered phrases."""
SECONDS = 2 * WINDOW * rolls.STEP
"""Length of a drawn phrase, of which examples are windows."""
_TRAIN, _TEST = 2000, 200
_HELD_OUT = 0.1


class Song(NamedTuple):
    """Music in voices.

    Attributes:
      states: ``(steps, VOICES)``, in a data set at least :data:`WINDOW` steps.
      key: an index of :data:`experiments.data.keys.KEYS`, by :func:`experiments.data.keys.key_of_notes`.
      instrument: the General MIDI program that plays most of it.
      notes: the notes in seconds of a performance.
    """

    states: np.ndarray
    key: int
    instrument: int
    notes: tuple[Note, ...] = ()


def key_of(played: Sequence[rolls.Played]) -> int:
    """The key of notes in steps."""
    return key_of_notes((note.pitch, note.last - note.first) for note in played)


def drawn_song(seed: int, seconds: float = SECONDS) -> Song:
    """A phrase of :func:`scorekit.data.phrases.random_phrase` with the instrument that its seed has there."""
    played = rolls.quantise(random_phrase(seed, seconds))
    states, _ = rolls.to_states(played, round(seconds / rolls.STEP))
    return Song(states, key_of(played), PROGRAMS[seed % len(PROGRAMS)])


def song_of_file(path: str | Path, octaves: bool = True) -> tuple[Song, list[str]]:
    """The song of a MIDI file up to the end of its last note, and sentences about what was left out or moved."""
    moved = "octave" if octaves else "error"
    score = midi.read_score(path, lowest=rolls.LOWEST, highest=rolls.HIGHEST, out_of_range=moved)
    if not score.notes:
        raise ValueError(f"must have notes, got none in {str(path)!r}")
    played = rolls.quantise(score.notes)
    states, left_out = rolls.to_states(played, max(note.last for note in played))
    programs, counts = np.unique(score.programs, return_counts=True)
    said = [f"{left_out} notes left out where more than {rolls.VOICES} sound at once"] if left_out else []
    return Song(states, key_of(played), int(programs[counts.argmax()])), [*score.remarks, *said]


@dataclass(kw_only=True, eq=False)
class Rolls(Dataset):
    """Phrases of :func:`scorekit.data.phrases.random_phrase`; an example is a window of :data:`WINDOW` steps.

    The training windows begin anywhere in the songs, which are drawn or read on first use.

    Args:
      label: "key", "instrument" (a program of General MIDI), or "none" for a single class.
      train_split: songs to train on: "train", or the first ones, as ``train[:100]``.
      test_split: songs to measure on: "test", or the first ones.

    Attributes:
      drawn: the song of a seed.
      codings: the choices of ``config.symbols.name``.
      seconds: the length of an example.
    """

    name = "rolls"
    unit = "pieces"
    codings = ("roll", "events")
    seconds = WINDOW * rolls.STEP
    vectors = ()
    only_symbols = True
    max_evaluated, max_held_out, evaluation_batch = 256, 128, 32
    drawn = staticmethod(drawn_song)

    label: Annotated[str, OneOf("key", "instrument", "none")] = "key"
    train_split: Annotated[str, Text("a split or folder")] = "train"
    test_split: Annotated[str, Text("a split or folder")] = "test"

    def __post_init__(self):
        self.shape = (WINDOW, rolls.VOICES)
        self.num_classes = {"key": len(KEYS), "instrument": 128, "none": 1}[self.label]
        self.class_names = KEYS if self.label == "key" else ()
        self._opened = self.open()

    def open(self) -> Sequence[Any]:
        """Where the songs of the training and the test set are: the number that each split names, None for all."""
        sizes = []
        for part, given in (("train", self.train_split), ("test", self.test_split)):
            match = re.fullmatch(rf"{part}(\[:0*([1-9]\d*)\])?", given)
            allowed = f"{part}, or the first pieces of it, as {part}[:100]"
            require(match is not None, f"data.{part}_split", given, allowed)
            sizes.append(int(match[2]) if match and match[2] else None)
        return sizes

    @functools.cached_property
    def both(self) -> tuple[list[Song], list[Song]]:
        """The songs of the training and the test set."""
        train, test = self._opened
        of_test = range(FIRST_TEST_SEED, FIRST_TEST_SEED + (test or _TEST))
        return list(map(self.drawn, range(train or _TRAIN))), list(map(self.drawn, of_test))

    @property
    def songs(self) -> list[Song]:
        """The songs to train on."""
        return self.both[0]

    @property
    def examples(self) -> int:
        """The number of songs to train on."""
        return len(self.songs)

    def read(self, part):
        """Windows of some training songs, or of all held-out songs."""
        songs = self.both[part]
        windows = self.held_out_windows(songs) if part else _anywhere(songs, evenly(len(songs), _TEST))
        return self._windows(songs, windows)

    def held_out_windows(self, songs: Sequence[Song]) -> Sequence[tuple[int, int]]:
        """The windows of the test set, by song and first step: one of each song, anywhere."""
        return _anywhere(songs, range(len(songs)))

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """The number of windows in the songs before each one."""
        return np.cumsum([0, *(len(song.states) - WINDOW + 1 for song in self.songs)])

    def _windows(self, songs: Sequence[Song], windows: Sequence[tuple[int, int]]) -> Batch:
        x = np.stack([songs[i].states[first : first + WINDOW] for i, first in windows])
        values = [0 if self.label == "none" else getattr(songs[i], self.label) for i, _ in windows]
        return {"x": x, "label": np.asarray(values, np.int32)}

    def batch(self, seed, step, size):
        at = np.random.default_rng((seed, step)).integers(self._starts[-1], size=size)
        which = np.searchsorted(self._starts, at, side="right") - 1
        return self._windows(self.songs, list(zip(which, at - self._starts[which], strict=True)))

    def to_notes(self, x: np.ndarray) -> Sequence[Note]:
        """The notes of an example; voices have no velocities, all are 64."""
        return [Note(n.pitch, 64, rolls.STEP * n.first, rolls.STEP * n.last) for n in rolls.to_played(x)]

    def of_notes(self, music: Sequence[Sequence[Note]]) -> np.ndarray:
        """Windows of notes as examples, on the host."""
        return np.stack([rolls.to_states(rolls.quantise(notes), WINDOW)[0] for notes in music])

    def to_model(self, x):
        return rolls.pictures(x)

    def from_model(self, x, conditions=None):
        return x

    def view(self, samples):
        return Pictures(np.asarray(samples if samples.ndim == 4 else rolls.pictures(samples)))

    def preview(self):
        return beside_held_out(self)


@dataclass(kw_only=True, eq=False)
class MidiFiles(Rolls):
    """The MIDI files of a folder, or of its subfolders ``train_split`` and ``test_split``.

    Without these subfolders a tenth of the files is held out. Notes outside 36 to 84 are moved by octaves, and notes
    beyond five at once left out. The test set has the consecutive windows of each file.

    Args:
      path: the folder.
      train_split: subfolder of the files to train on.
      test_split: subfolder of the files to measure on.
    """

    name = "midi"

    path: Annotated[str, Text("a folder of MIDI files")]

    def open(self):
        apart, allowed = self.train_split != self.test_split, "another folder than data.train_split"
        require(apart, "data.test_split", self.test_split, allowed)
        with reading(self.path):
            root = Path(self.path).expanduser()
            folders = split_folders(root, self.train_split, self.test_split)
            if folders:
                train, test = map(_files, folders)
            else:
                both = _files(root)
                train, test = ([both[i] for i in at] for at in divided(len(both), max(round(_HELD_OUT * len(both)), 1)))
            if not train or not test:
                raise ValueError("must have two MIDI files (.mid) or more to train on and to hold out")
        return train, test

    @functools.cached_property
    def both(self):
        with reading(self.path):
            return _songs(self._opened[0]), _songs(self._opened[1])

    def held_out_windows(self, songs):
        return [(i, at) for i, song in enumerate(songs) for at in range(0, len(song.states) - WINDOW + 1, WINDOW)]


def _anywhere(songs: Sequence[Song], which: Iterable[int]) -> list[tuple[int, int]]:
    """A window of each song; the first steps are the same in every run."""
    rng = np.random.default_rng(0)
    return [(i, int(rng.integers(len(songs[i].states) - WINDOW + 1))) for i in which]


def _files(folder: Path) -> list[Path]:
    """The MIDI files of a folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))


def _songs(paths: Sequence[Path]) -> list[Song]:
    found, held, total = [], 0, 0
    for path in paths:
        song, remarks = song_of_file(path)
        held, total = held + song.states.nbytes, total + path.stat().st_size
        check_unpacked(f"the music up to {path}", held, total)
        for remark in remarks:
            print(f"{path}: {remark}", flush=True)
        found.append(song._replace(states=np.pad(song.states, [(0, max(WINDOW - len(song.states), 0)), (0, 0)])))
    return found
