"""Pieces of music in files: what is given to a composition, and what is written of it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mido
import numpy as np

from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.outputs import write_results
from experiments.data import rolls
from experiments.data.keys import KEYS, parse_key
from experiments.data.phrases import Phrases
from experiments.data.roll_sets import Song, key_of, song_of_file
from experiments.projects.audio.music import composing, songs
from experiments.projects.audio.sound import drawing, long_sounds
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.grids import ROLL, grid, roll
from experiments.reporting.report import Figure, Heading, Section
from experiments.tasks.diffusion import task as diffusion
from scorekit.data import midi
from scorekit.data.phrases import FRAME_RATE, PROGRAMS, Note, piano_roll, render_phrase
from scorekit.data.soundfont import read_soundfont

SAMPLE_RATE = 16000
"""Sample rate of rendered sounds, where no performer says another one."""
FILE = "compositions.json"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")
_BEATS = 4
_TEMPO = 500_000
"""Microseconds of a beat of a file that does not say."""


def read(flag: str, path: str, octaves: bool) -> Song:
    """The music of a MIDI file in voices; prints what was left out or moved."""
    try:
        song, remarks = song_of_file(Path(path).expanduser(), octaves)
    except ValueError as error:
        hint = "; --octaves moves them" if "must have notes from" in str(error) else ""
        raise ConfigError(f"--{flag}={path}: {error}{hint}") from error
    for remark in remarks:
        print(f"{path}: {remark}", flush=True)
    return song


def gap(path: str, bars: str | None, span: str | None) -> tuple[int, int]:
    """The steps of ``--bars`` (of four beats, the first is 1) or ``--span`` (seconds) of a file."""
    if (bars is None) == (span is None):
        raise ConfigError("--fill: must come with --bars=2-3 or --span=1.5-4 (seconds)")
    given, text = ("bars", bars) if bars is not None else ("span", span)
    found = _SPAN.fullmatch(str(text))
    if found is None or (bars is not None and "." in bars) or not float(found[1]) <= float(found[2]):
        allowed = "bars, such as 2-3" if bars is not None else "seconds, such as 1.5-4"
        raise ConfigError(f"--{given}={text}: must be a range of {allowed}")
    if span is not None:
        first, last = (round(float(found[i]) / rolls.STEP) for i in (1, 2))
        if first == last:
            raise ConfigError(f"--span={span}: must have a step of {rolls.STEP} s")
        return first, last
    bar = _BEATS * seconds_per_beat(path)
    if int(found[1]) < 1:
        raise ConfigError(f"--bars={bars}: must begin with bar 1 or later")
    return round((int(found[1]) - 1) * bar / rolls.STEP), round(int(found[2]) * bar / rolls.STEP)


def seconds_per_beat(path: str) -> float:
    """Seconds of a beat of a MIDI file of one tempo, which has been read before."""
    changes = {0: _TEMPO}
    for track in mido.MidiFile(Path(path).expanduser()).tracks:
        ticks = 0
        for message in track:
            ticks += message.time
            if message.type == "set_tempo":
                changes[ticks] = message.tempo
    tempos = set(changes.values())
    if len(tempos) > 1:
        raise ConfigError(f"--bars: must be of a file of one tempo, {path} has {len(tempos)}; name seconds by --span")
    return tempos.pop() / 1e6


def sketch(
    flag: str, path: str, octaves: bool, steps: int, bars: str | None, span: str | None
) -> tuple[composing.Sketch, Song]:
    """What ``--continue`` (for so many steps), ``--harmonise`` or ``--fill`` gives of a MIDI file, and its music."""
    song = read(flag, path, octaves)
    given = f"--{flag}={path}"
    try:
        if flag == "continue":
            return composing.continued(song.states, steps), song
        if flag == "harmonise":
            return composing.harmonised(song.states), song
        first, last = gap(path, bars, span)
        given = f"--bars={bars}" if bars else f"--span={span}"
        if first < len(song.states):
            last = min(last, len(song.states))  # the last bar may be longer than its notes
        return composing.without(song.states, first, last), song
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{given}: {error}") from error


def keys(label: str, key: str | None, song: Song | None, num: int, seed: int) -> np.ndarray:
    """The key of each piece, from ``--key``, from the song, or drawn; ``label`` is the condition of the model."""
    require(key is None or label == "key", "data.label", label, "key for --key: this model knows none")
    if key is not None:
        try:
            return np.full(num, parse_key(key))
        except ValueError as error:
            raise ConfigError(f"--key={key}: {error}") from error
    drawn = np.random.default_rng(seed).integers(len(KEYS), size=num)
    return drawn if song is None else np.full(num, song.key)


class Performer(NamedTuple):
    """A run of a model of phrases that plays rolls, and the seed of its noise."""

    config: Config
    run: Any
    seed: int


def open_performer(folder: str, program: int, seed: int) -> Performer:
    """Opens the run of a model of phrases conditioned on rolls."""
    with shared.named("perform"):
        config = diffusion.saved(folder)
        drawing.check_kind(Phrases, config, folder)
    name, allowed = (
        config.conditions.map.name,
        f"piano_roll or tones in --perform={folder}, a model of sounds given the roll",
    )
    require(name in ("piano_roll", "tones"), "conditions.map.name", name, allowed)
    if program not in PROGRAMS:
        listed = ", ".join(map(str, PROGRAMS))
        raise ConfigError(f"--program={program}: must be one of {listed}, the instruments of --perform={folder}")
    lowest, highest = long_sounds.keys_of(config)
    if lowest > rolls.LOWEST or highest < rolls.HIGHEST:
        raise ConfigError(
            f"--perform={folder}: must know the keys from {rolls.LOWEST} to {rolls.HIGHEST}, "
            f"config.conditions.map has the keys from {lowest} to {highest}"
        )
    with shared.named("perform"):
        run, _ = drawing.open_kind(Phrases, config, folder, scales=(config.sampling.guidance_scale,))
    return Performer(config, run, seed)


def play(music: Sequence[Sequence[Note]], program: int, seconds: float, performer: Performer | None = None):
    """Sounds ``(N, L)`` of pieces by name: rendered from the SoundFont, and performed; and their sample rate."""
    rate = SAMPLE_RATE if performer is None else performer.run.dataset.sample_rate
    font, frames = read_soundfont(), 1 + round(seconds * FRAME_RATE)
    rendered = [render_phrase(font, program, notes, sample_rate=rate, seconds=seconds) for notes in music]
    sounds = {"rendered": np.stack(rendered)}
    if performer is not None:
        pieces = [
            songs.Song(str(i), piano_roll(notes, frames), program, sound)
            for i, (notes, sound) in enumerate(zip(music, rendered, strict=True))
        ]
        hop = long_sounds.hop_of(performer.run, 0.5)
        found, _ = songs.perform(performer.config, performer.run, pieces, hop, performer.seed)
        length = min(map(len, found))  # whole frames: a little shorter
        sounds = {"performed": np.stack([x[:length] for x in found]), "rendered": sounds["rendered"][:, :length]}
    return sounds, rate


def write(
    folder: Path,
    states: np.ndarray,
    program: int,
    facts: Sequence[dict[str, Any]],
    given: Sequence[Note] = (),
    performer: Performer | None = None,
) -> list[Section]:
    """Writes every piece ``(N, steps, VOICES)`` as ``<i>.mid``, picture and sound, and :data:`FILE`, the list of facts.

    Returns:
      The sections of a report.
    """
    music, seconds = [rolls.to_notes(piece) for piece in states], states.shape[1] * rolls.STEP
    for old in folder.glob("*"):  # of more pieces, drawn before
        number = re.fullmatch(r"(\d+)(_[a-z]+)*\.(mid|png|wav)", old.name)
        if number and int(number[1]) >= len(states):
            old.unlink()
    figures, found = [], []
    for i, (notes, known) in enumerate(zip(music, facts, strict=True)):
        midi.write_score(folder / f"{i}.mid", notes, program, seconds)
        reference = given if len(given) else None
        bars = roll(notes, seconds, reference, names=("composed", "given"))
        picture = grid(folder / f"{i}_roll.png", [[bars]], size=ROLL)
        key = KEYS[key_of(rolls.to_played(states[i]))]
        figures.append(Figure(picture, f"Piece {i}: {key}, {len(notes)} notes."))
        found.append(
            {"file": f"{i}.mid", "program": program, "seconds": seconds, "notes": len(notes), "key_found": key, **known}
        )
    write_results(folder / FILE, found)
    sounds, rate = play(music, program, seconds, performer)
    labels = [f"{i}: {entry['key_found']}" for i, entry in enumerate(found)]
    return [Heading("Sounds"), audio_widgets(folder, sounds, rate, row_labels=labels), Heading("Piano rolls"), *figures]
