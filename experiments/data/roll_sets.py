"""Sets of music in voices of 64 ms steps: phrases drawn from seeds, and a folder of MIDI files."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.cli.config import Config, ConfigError, choice, require, require_field
from experiments.data import rolls
from experiments.data.dataset import Batch, Dataset, evenly, rows_of
from experiments.data.display import Pictures, Preview
from experiments.data.keys import KEYS, key_of_notes
from scorekit.data import midi
from scorekit.data.phrases import PROGRAMS, Note, random_phrase
from scorekit.io import check_unpacked, resolved

WINDOW = 64
"""Steps of an example: 4.096 s."""
FIRST_TEST_SEED = 10**9
"""The first test seed, as of the rendered phrases."""
SECONDS = 2 * WINDOW * rolls.STEP
"""Length of a drawn phrase, of which examples are windows."""
_SIZES = {"train": 2000, "test": 200}
_SPLIT = re.compile(r"(train|test)(?:\[:(\d+)\])?")
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


class Rolls(Dataset):
    """Phrases of :func:`scorekit.data.phrases.random_phrase`; an example is a window of :data:`WINDOW` steps.

    The training windows begin anywhere in the songs. The class is the key, the instrument, or there is none.

    Attributes:
      songs: the songs to train on.
      test_songs: the songs of the test set, which has a window of each song, beginning anywhere.
      drawn: the song of a seed.
      codings: the choices of ``config.symbols.name``.
      seconds: the length of an example.
    """

    unit = "pieces"
    codings: tuple[str, ...] = ("roll", "events")
    seconds = WINDOW * rolls.STEP
    vectors = ()
    labels = ("key", "instrument", "none")
    max_evaluated, max_held_out, evaluation_batch = 256, 128, 32
    songs: list[Song]
    test_songs: list[Song]
    drawn: Callable[[int], Song] = staticmethod(drawn_song)

    def __init__(self, config: Config):
        self._label = config.data.label or self.labels[0]
        self.songs, self.test_songs = self._load(config)
        self.name, self.shape = config.data.name, (WINDOW, rolls.VOICES)
        self.num_classes = {"key": len(KEYS), "instrument": 128, "none": 1}[self._label]
        self.class_names = KEYS if self._label == "key" else ()
        self.examples = len(self.songs)
        self._starts = np.cumsum([0, *(len(song.states) - WINDOW + 1 for song in self.songs)])
        self.test = self._windows(self.test_songs, self.test_windows())
        shown = evenly(len(self.songs), _SIZES["test"])
        self.train = self._windows(self.songs, _anywhere(self.songs, shown))

    def sizes(self, config: Config) -> dict[str, int | None]:
        """The number of pieces of the training and the test set that the splits name; None is all."""
        found = {}
        for which in ("train", "test"):
            given = config.data[f"{which}_split"]
            match = _SPLIT.fullmatch(given)
            fits = match is not None and match[1] == which
            require(fits, f"data.{which}_split", given, f"{which}, or of it the first phrases, as {which}[:100]")
            assert match is not None
            found[which] = None if match[2] is None else int(match[2])
            require(found[which] != 0, f"data.{which}_split", given, "a split with phrases in it")
        return found

    def _load(self, config: Config) -> tuple[list[Song], list[Song]]:
        sizes = {which: size or _SIZES[which] for which, size in self.sizes(config).items()}
        train = [self.drawn(seed) for seed in range(sizes["train"])]
        return train, [self.drawn(FIRST_TEST_SEED + seed) for seed in range(sizes["test"])]

    def test_windows(self) -> list[tuple[int, int]]:
        """The song and first step of the test examples."""
        return _anywhere(self.test_songs, range(len(self.test_songs)))

    def _windows(self, songs: Sequence[Song], windows: Sequence[tuple[int, int]]) -> Batch:
        x = np.stack([songs[i].states[first : first + WINDOW] for i, first in windows])
        values = [0 if self._label == "none" else getattr(songs[i], self._label) for i, _ in windows]
        return {"x": x, "label": np.asarray(values, np.int32)}

    @classmethod
    def spatial_axes(cls, config):
        return 2

    @classmethod
    def check(cls, config):
        super().check(config)
        choice("data.label", config.data.label or cls.labels[0], cls.labels)
        allowed = "another one in a config without symbols: rolls are sequences"
        require_field(config, "data.name", config.task == "sequence", allowed)
        fits = config.symbols.name in cls.codings
        require_field(config, "symbols.name", fits, f"{' or '.join(cls.codings)} for data.name={config.data.name}")

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
        few = rows_of(self.test, slice(10))
        return Preview(few["label"], ["sample", "held out"], few)


class MidiFiles(Rolls):
    """The MIDI files of a folder, ``config.data.path``, or of its subfolders ``train_split`` and ``test_split``.
    Without these subfolders a tenth of the files is held out.

    Notes outside 36 to 84 are moved by octaves, and notes beyond five at once left out. The test set has the
    consecutive windows of each file.
    """

    image_fields = tuple(field for field in Dataset.image_fields if field != "path")

    @classmethod
    def check(cls, config):
        super().check(config)
        path = config.data.path
        require(path is not None and "\0" not in path, "data.path", path, f"set for data.name={config.data.name}")

    def _load(self, config: Config):
        root = Path(config.data.path).expanduser()
        parts = [root / config.data[field] for field in ("train_split", "test_split")]
        require(parts[0] != parts[1], "data.test_split", config.data.test_split, "another folder than data.train_split")
        if all(part.is_dir() for part in parts):
            train, test = (_files(part, root) for part in parts)
        else:
            both = _files(root, root)
            at = evenly(len(both), max(round(_HELD_OUT * len(both)), 1))
            train, test = [p for i, p in enumerate(both) if i not in at], [both[i] for i in at]
        if not train or not test:
            allowed = "must have two MIDI files (.mid) or more to train on and to hold out"
            raise ConfigError(f"config.data.path={config.data.path}: {allowed}")
        return _songs(train), _songs(test)

    def test_windows(self):
        lengths = [len(song.states) for song in self.test_songs]
        return [(i, at) for i, steps in enumerate(lengths) for at in range(0, steps - WINDOW + 1, WINDOW)]


def _anywhere(songs: Sequence[Song], which: Iterable[int]) -> list[tuple[int, int]]:
    """A window of each song; the first steps are the same in every run."""
    rng = np.random.default_rng(0)
    return [(i, int(rng.integers(len(songs[i].states) - WINDOW + 1))) for i in which]


def _files(folder: Path, root: Path) -> list[Path]:
    """The MIDI files of a folder, in the folder of the data."""
    try:
        if folder != root:
            resolved(folder, within=root)
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
        for path in found:
            resolved(path, within=root)
    except (OSError, ValueError) as error:
        raise ConfigError(f"config.data.path: {error}") from error
    return found


def _songs(paths: Sequence[Path]) -> list[Song]:
    found, held, total = [], 0, 0
    for path in paths:
        try:
            song, remarks = song_of_file(path)
            held, total = held + song.states.nbytes, total + path.stat().st_size
            check_unpacked(f"the music up to {path}", held, total)
        except ValueError as error:
            raise ConfigError(f"config.data.path: {error}") from error
        for remark in remarks:
            print(f"{path}: {remark}", flush=True)
        found.append(song._replace(states=np.pad(song.states, [(0, max(WINDOW - len(song.states), 0)), (0, 0)])))
    return found
