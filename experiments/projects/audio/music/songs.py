"""Songs of the circle from rolls to sound and back: where they come from, and how two ways of playing them sound."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.data.phrases import Phrases
from experiments.projects.audio.sound import long_sounds
from experiments.projects.audio.sound.long_sounds import Performer
from experiments.projects.audio.transcription import transcription
from experiments.reporting.tables import Cell, Table
from experiments.tasks.task import Run
from scorekit import audio
from scorekit.data import midi
from scorekit.data.phrases import FRAME_RATE, PROGRAMS, Note, piano_roll, render_phrase
from scorekit.data.soundfont import read_soundfont
from scorekit.io import regular_file

_UNIT = 4.096
"""Songs are performed at lengths that are multiples of so many seconds: few lengths are compiled."""
_WINDOWS = 160
"""Most windows that are computed at once."""
_TIMED = 4 * _UNIT
"""Seconds of music whose cost is stated."""
_REST = 0.5
"""Seconds after the last note of a MIDI file."""


class Song(NamedTuple):
    """A roll ``(T, 128)`` for one instrument, a General MIDI program, and its sound from the SoundFont ``(L,)``."""

    name: str
    roll: np.ndarray
    program: int
    rendered: np.ndarray


def midi_files(given: Sequence[str]) -> list[Path]:
    """The files of ``--midi``, where a folder stands for its files ``*.mid`` and ``*.midi`` in order."""
    found = []
    for name in given:
        path = Path(name).expanduser()
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in (".mid", ".midi"))
            if not files:
                raise ConfigError(f"--midi={name}: must be MIDI files or folders with some, there is no *.mid in it")
            try:
                for file in files:
                    regular_file(file, within=path)
            except (OSError, ValueError) as error:
                raise ConfigError(f"--midi={name}: {error}") from error
            found += files
        else:
            found.append(path)
    return found


def programs_of(files: Sequence[Path]) -> list[int]:
    """The instrument of the first note of each MIDI file; where models know none of it, one that they know, in turn."""
    found = [midi.read_score(path).programs[0] for path in files]
    return [own if own in PROGRAMS else PROGRAMS[i % len(PROGRAMS)] for i, own in enumerate(found)]


def of_scores(files: Sequence[Path], scores: Sequence[list[Note]], rate: int, programs: Sequence[int]) -> list[Song]:
    """Songs of MIDI files, each for its own program."""
    font, songs = read_soundfont(), []
    for path, score, program in zip(files, scores, programs, strict=True):
        notes = [note._replace(end=max(note.end, note.start + 1 / FRAME_RATE)) for note in score]  # a frame at least
        frames = 1 + round((max(note.end for note in notes) + _REST) * FRAME_RATE)
        seconds = (frames - 1) / FRAME_RATE
        rendered = render_phrase(font, program, notes, sample_rate=rate, seconds=seconds)
        songs.append(Song(path.stem, piano_roll(notes, frames), program, rendered))
    return songs


def held_out(phrases: Phrases, num: int) -> list[Song]:
    """The first held-out phrases, uncropped."""
    part = phrases.load(phrases.test_split)
    rows = zip(part.roll[:num], part.instrument[:num], part.x[:num], strict=True)
    return [
        Song(f"phrase {i}", roll, int(program), np.asarray(audio.pcm_to_float(x)))
        for i, (roll, program, x) in enumerate(rows)
    ]


def perform(
    config: Config, run: Run, songs: Sequence[Song], hop: int, seed: int
) -> tuple[list[np.ndarray], list[float]]:
    """The sounds of a model, by blended windows ``hop`` samples apart, and CPU and wall seconds of 16.384 s of them."""
    rate = long_sounds.sounds_of(run).sample_rate
    play, frames_of = Performer(config, run, hop), round(_UNIT * FRAME_RATE)
    by_length: dict[int, list[int]] = {}
    for i, song in enumerate(songs):
        by_length.setdefault(max(-(-(len(song.roll) - 1) // frames_of), 1), []).append(i)
    found, drawn, batch_number = [np.zeros(0)] * len(songs), 0.0, 0
    for units, rows in sorted(by_length.items()):
        windows = max(round(units * _UNIT * rate / hop), 1)
        batches = -(-len(rows) // max(_WINDOWS // windows, 1))
        each = -(-len(rows) // batches)
        padded = rows + rows[-1:] * (batches * each - len(rows))  # every batch of one size
        for start in range(0, len(padded), each):
            batch = [songs[i] for i in padded[start : start + each]]
            length = 1 + units * frames_of
            rolls = np.stack([np.pad(song.roll, [(0, length - len(song.roll)), (0, 0)]) for song in batch])
            sounds = play(rolls, np.array([song.program for song in batch], np.int32), seed + batch_number)
            batch_number += 1
            for i, x in zip(padded[start : start + each], sounds, strict=True):
                found[i] = x[: len(songs[i].rendered)]
            drawn += each * units * _UNIT
    return found, [play.cpu * _TIMED / drawn, play.wall * _TIMED / drawn]


def transcribe(
    transcriber: transcription.Trained, songs: Sequence[Song], versions: Mapping[str, Sequence[np.ndarray]], rate: int
) -> dict[str, transcription.Measured]:
    """What a transcriber finds in the sounds of every version, compared with the rolls; prints what it remarks."""
    notes, frames = transcription.played(transcriber, [song.roll for song in songs]), [len(song.roll) for song in songs]
    parts = {}
    for name, sounds in versions.items():
        results = [transcription.transcribe(transcriber, audio.Sound(x, rate)) for x in sounds]
        for song, (_, remark) in zip(songs, results, strict=True):
            if remark:
                print(f"{song.name}, {name}: {remark}", flush=True)
        parts[name] = transcription.compare(notes, [each for each, _ in results], frames)
    return parts


def cost(config: Config, run: Run, song: Song, hop: int, seed: int, together: Sequence[float]) -> Table:
    """The time that 16.384 s of music take: a piece alone, made by repeating ``song``, and the share of it in many."""
    play, frames = Performer(config, run, hop), 1 + round(_TIMED * FRAME_RATE)
    play(np.resize(song.roll, (1, frames, 128)), np.array([song.program], np.int32), seed)
    window = long_sounds.window_of(run) / long_sounds.sounds_of(run).sample_rate
    caption = f"for {_TIMED:.3f} s of music in windows of {window:.3f} s, without compilation"
    rows: list[list[Cell]] = [["one piece alone", play.cpu, play.wall], ["of all together", *together]]
    return Table(["", "CPU seconds", "seconds"], rows, caption)


def roughness(songs: Sequence[Song], performed: Sequence[np.ndarray], hop: int) -> Table:
    """The roughness of both sounds where windows begin, and for comparison half-way between.

    The energy of the second difference there over that everywhere, a median over songs; about 1 is inaudible.
    """
    rows: list[list[Cell]] = []
    for name, sounds in (("rendered", [song.rendered for song in songs]), ("performed", performed)):
        loud = [x for x in sounds if len(x) > 2 * hop and np.abs(np.diff(x, n=2)).max() > 0]
        positions = [(list(range(hop, len(x) - 2, hop)), list(range(hop // 2, len(x) - 2, hop))) for x in loud]
        values = [[float(audio.seam_roughness(x, at)) for at in both] for x, both in zip(loud, positions, strict=True)]
        medians = np.median(values, axis=0) if values else [None, None]
        rows.append([name, *medians])
    caption = f"roughness: the median energy of the second difference every {hop} samples over that everywhere"
    return Table(["", "where windows begin", "half-way between"], rows, caption)
