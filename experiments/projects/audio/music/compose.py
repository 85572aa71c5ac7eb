"""Composes: from nothing, or continuing a MIDI file.

    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --seconds=16 --key=Am --program=73
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --continue=song.mid --seconds=8

Pieces longer than the windows of training are drawn in windows that overlap by two seconds. Notes of the file outside
the keys of the model are moved by octaves. Writes ``<i>.mid``, which ``sound.perform`` plays by a model of phrases, an
image of the roll and the sound from the SoundFont, ``compositions.json``, a list of facts about each file, and
``report.html`` into ``workdir/compose`` or ``--out``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.outputs import write_results
from experiments.data import rolls
from experiments.data.keys import KEYS, parse_key
from experiments.data.roll_sets import Song, key_of, song_of_file
from experiments.projects.audio.music import composing
from experiments.projects.audio.piano_rolls import ROLL, roll
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.grids import grid
from experiments.reporting.report import Figure, Heading, Section, write_report
from experiments.tasks.sequences.task import open_run
from experiments.tasks.task import facts
from scorekit.data import midi
from scorekit.data.phrases import Note, render_phrase
from scorekit.data.soundfont import read_soundfont

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a config of rolls.")
_STEP, _SEED = shared.step(), shared.seed()
_NUM = shared.count("num", 4, "Number of pieces.")
_SECONDS = shared.seconds(16.384, "Length of a new piece or of a continuation.")
_CONTINUE = flags.DEFINE_string("continue", None, "A MIDI file to continue.")
_KEY = flags.DEFINE_string("key", None, "The key, as Am or 'F# major'; by default from the file, or drawn.")
_PROGRAM = flags.DEFINE_integer("program", None, "General MIDI instrument; by default from the file, or 0.", 0, 127)
_OUT = shared.out("Folder of the results; workdir/compose by default.")
SAMPLE_RATE, CONTEXT = 16000, 32
"""Of the sounds, in Hz; steps of a window that are taken from the previous window."""


def beginning() -> Song | None:
    """The song that is continued, in voices; prints what was left out or moved."""
    path = _CONTINUE.value
    if path is None:
        return None
    try:
        song, remarks = song_of_file(Path(path).expanduser())
    except ValueError as error:
        raise ConfigError(f"--continue={path}: {error}") from error
    for remark in remarks:
        print(f"{path}: {remark}", flush=True)
    return song


def keys(label: str, song: Song | None) -> np.ndarray:
    """The key of each piece, from ``--key``, from the song, or drawn; ``label`` is the condition of the model."""
    key, num = _KEY.value, _NUM.value
    require(key is None or label == "key", "data.label", label, "key for --key: this model knows none")
    if key is not None:
        try:
            return np.full(num, parse_key(key))
        except ValueError as error:
            raise ConfigError(f"--key={key}: {error}") from error
    drawn = np.random.default_rng(_SEED.value).integers(len(KEYS), size=num)
    return drawn if song is None else np.full(num, song.key)


def write(
    folder: Path, states: np.ndarray, program: int, facts: Sequence[dict[str, Any]], given: Sequence[Note]
) -> list[Section]:
    """Writes every piece ``(N, steps, VOICES)`` as ``<i>.mid``, image and sound, and a list of facts; returns the
    sections of a report."""
    music, seconds = [rolls.to_notes(piece) for piece in states], states.shape[1] * rolls.STEP
    figures, entries = [], []
    for i, (notes, known) in enumerate(zip(music, facts, strict=True)):
        midi.write_score(folder / f"{i}.mid", notes, program, seconds)
        bars = roll(notes, seconds, given or None, names=("composed", "given"))
        image, key = grid(folder / f"{i}_roll.png", [[bars]], size=ROLL), KEYS[key_of(rolls.to_played(states[i]))]
        figures.append(Figure(image, f"Piece {i}: {key}, {len(notes)} notes."))
        entry = {"file": f"{i}.mid", "program": program, "seconds": seconds, "notes": len(notes), "key_found": key}
        entries.append({**entry, **known})
    write_results(folder / "compositions.json", entries)
    font = read_soundfont()
    sounds = [render_phrase(font, program, notes, sample_rate=SAMPLE_RATE, seconds=seconds) for notes in music]
    labels = [f"{i}: {entry['key_found']}" for i, entry in enumerate(entries)]
    widgets = audio_widgets(folder, {"rendered": np.stack(sounds)}, SAMPLE_RATE, row_labels=labels)
    return [Heading("Sounds"), widgets, Heading("Piano rolls"), *figures]


def main(config: Config) -> Path:
    workdir, seconds = shared.path(_WORKDIR), _SECONDS.value
    composing.check(config)
    if not rolls.STEP <= seconds < np.inf:
        raise ConfigError(f"--seconds={seconds}: must be finite and at least {rolls.STEP:g}, a step")
    song, steps, label, num = beginning(), round(seconds / rolls.STEP), config.data.label or "key", _NUM.value
    given, classes = composing.NOTHING if song is None else song.states, keys(label, song)
    program = _PROGRAM.value if _PROGRAM.value is not None else song.instrument if song is not None else 0
    scale = config.sampling.guidance_scale
    out = shared.results_folder(_OUT, workdir / "compose")
    run = open_run(config, workdir, _STEP.value, (scale,))
    labels = classes if label == "key" else np.full(num, program if label == "instrument" else 0)
    length = (len(given) + steps) * rolls.STEP
    print(f"{num} {'piece' if num == 1 else 'pieces'} of {length:.3f} s …", flush=True)
    fill, task = composing.make_fill(config, run, scale), "new" if song is None else "continue"
    states = composing.compose(fill, given, steps, labels, _SEED.value, CONTEXT)
    known = {"task": task, "seed": _SEED.value, "guidance": scale, "model": config.model, "step": run.step}
    each = [{**known, **({"key": KEYS[key]} if label == "key" else {})} for key in classes]
    sections = write(out, states, program, each, rolls.to_notes(given))
    summary = {**facts(run), "task": task, "guidance scale": scale, "program": program}
    return write_report(out / "report.html", "scorekit: compositions", summary, sections)


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value), tasks.check_fields)
