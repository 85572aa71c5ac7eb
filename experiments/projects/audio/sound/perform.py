"""Phrases from their piano roll, longer than what the model was trained on: MIDI to audio.

    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases
    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases --seconds=8.192 --num=16
    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases --midi=song.mid --program=73

The model, trained on crops of ``config.data.crop`` samples, denoises windows of that length that overlap by half,
blended at every step; for comparison also separate windows. New phrases are drawn from seeds of no training or test
phrase and rendered from the SoundFont too, so that chroma and onsets can be compared with their target. A MIDI file is
played by one instrument, without its percussion, and nothing is compared; notes outside the keys of the model are
moved by octaves. Prints a table and writes ``perform.html`` with audio widgets and piano rolls,
``perform.json``, the sounds and, as ``.mid``, what they play into ``workdir/perform``.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.data.sound_sets import Phrases
from experiments.projects.audio import piano_rolls
from experiments.projects.audio.sound import long_sounds
from experiments.projects.audio.sound.runs import check_results, open_sounds, write_sound_report
from experiments.reporting.grids import grid
from experiments.reporting.report import Figure, Heading
from experiments.reporting.tables import Table
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.task import facts
from scorekit import audio
from scorekit.data import midi
from scorekit.data.phrases import FRAME_RATE, PROGRAMS, Note, piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont

FIRST_SEED = 2 * 10**9
"""The first seed of new phrases: no training or test phrase has one of them."""
OVERLAP = 0.5
"""Fraction of a window that the next window overlaps."""

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a config of phrases.")
_STEP, _SEED = shared.step(), shared.seed()
_SECONDS = shared.seconds(4.096, "Minimum length of a phrase.")
_NUM = shared.count("num", 20, "Number of new phrases.", 2)
_SHOWN = shared.count("shown", 5, "Number of phrases with audio widgets.")
_MIDI = flags.DEFINE_string("midi", None, "A MIDI file to play in place of new phrases.")
_PROGRAM = flags.DEFINE_integer("program", 0, "The instrument for --midi, one of the training set.")


def read_notes(keys: tuple[int, int], path: str) -> list[Note]:
    """The notes of ``--midi``, those outside ``keys`` moved by octaves; prints what was left out or moved."""
    try:
        score = midi.read_score(path, lowest=keys[0], highest=keys[1], out_of_range="octave")
    except ValueError as error:
        raise ConfigError(f"--midi={path}: {error}") from error
    for remark in score.remarks:
        print(f"{path}: {remark}", flush=True)
    if not score.notes:
        raise ConfigError(f"--midi={path}: must have notes, got none" + "".join(f" ({r})" for r in score.remarks))
    return list(score.notes)


def scores_and_programs(config: Config) -> tuple[list[list[Note]], list[int]]:
    """Validates the flags and the conditions of the model; the phrases to play, and their instruments."""
    keys = long_sounds.keys_of(config)
    if not 0 < _SECONDS.value < float("inf"):
        raise ConfigError(f"--seconds={_SECONDS.value}: must be finite and > 0")
    if _PROGRAM.value not in PROGRAMS:
        raise ConfigError(f"--program={_PROGRAM.value}: must be one of {', '.join(map(str, PROGRAMS))}")
    if _MIDI.value is not None:
        shared.idle("with --midi", _NUM, _SECONDS)
        return [read_notes(keys, _MIDI.value)], [_PROGRAM.value]
    shared.idle("without --midi", _PROGRAM)
    scores = [random_phrase(FIRST_SEED + i, _SECONDS.value) for i in range(_NUM.value)]
    return scores, [PROGRAMS[i % len(PROGRAMS)] for i in range(_NUM.value)]


def compare(sounds: dict[str, np.ndarray], rate: int, size: int) -> Table:
    """How each version follows its roll, and the roughness where windows meet.

    Chroma and onsets are correlated with the rendered phrase, and with another rendered phrase.
    """
    measures = [jax.jit(each, static_argnums=1) for each in (audio.chroma, audio.onset_envelope)]
    real = sounds["rendered"]
    rows = []
    for name, x in sounds.items():
        values: list[float | None] = []
        for measure in measures:
            mine, true = measure(x, rate), measure(real, rate)
            own = None if name == "rendered" else float(audio.correlation(mine, true).mean())
            values += [own, float(audio.correlation(mine, np.roll(true, 1, axis=0)).mean())]
        seams = range(size, x.shape[1] - 2, size)
        values += [float(np.median(audio.seam_roughness(x, list(seams)))) if len(seams) else None]
        rows.append([name, *values])
    header = ["", "chroma", "chroma, another roll", "onsets", "onsets, another roll", "roughness at seams"]
    caption = (
        f"correlations with the rendered phrases, means over {len(real)} of {real.shape[1] / rate:.3f} s; roughness: "
        f"the median energy of the second difference at multiples of {size / rate:.3f} s, where separate windows "
        f"meet, over that everywhere"
    )
    return Table(header, rows, caption)


def write_rolls(folder: Path, rolls: np.ndarray, programs: Sequence[int]) -> list[Figure]:
    """Writes every roll ``(N, T, 128)`` as ``<row>.mid`` and as a picture, ``<row>_roll.png``; returns the pictures."""
    figures = []
    for i, (roll, program) in enumerate(zip(rolls, programs, strict=True)):
        midi.write_midi(folder / f"{i}.mid", roll, program=program)
        bars = piano_rolls.roll(midi.notes_of_roll(roll), len(roll) / FRAME_RATE)
        picture = grid(folder / f"{i}_roll.png", [[bars]], size=piano_rolls.ROLL)
        figures.append(Figure(picture, f"The piano roll of phrase {i}, program {program}."))
    return figures


def main(config: Config) -> Path:
    workdir = check_results(Phrases, config, _WORKDIR.value)
    scores, programs = scores_and_programs(config)
    scale, from_midi = config.sampling.guidance_scale, _MIDI.value is not None
    run = open_sounds(config, workdir, _STEP.value, (scale,))
    rate, size, hop = run.dataset.sample_rate, run.dataset.length, long_sounds.hop_of(run, OVERLAP)
    last = max(note.end for score in scores for note in score) if from_midi else _SECONDS.value
    length = size + max(-(-(round(last * rate) - size) // hop), 0) * hop
    rolls = np.stack([piano_roll(score, 1 + length // round(rate / FRAME_RATE)) for score in scores])
    print(f"{len(rolls)} phrases of {length / rate:.3f} s in windows of {size / rate:.3f} s …", flush=True)
    hops, sounds = {"blended windows": hop}, {}
    if not from_midi:
        hops["separate windows"], font = size, read_soundfont()
        play = lambda score, program: render_phrase(font, program, score, sample_rate=rate, seconds=length / rate)
        sounds["rendered"] = np.stack([play(*each) for each in zip(scores, programs, strict=True)])
    with progress.Progress(len(hops), batch_size=len(rolls), label="perform") as bar:
        for i, (name, step) in enumerate(hops.items()):
            drawn = long_sounds.perform(config, run, rolls, np.asarray(programs, np.int32), step, _SEED.value)
            sounds[name] = drawn[:, :length]
            bar.update(1 + i)
    out, shown = workdir / "perform", slice(_SHOWN.value)
    tables = [] if from_midi else [compare(sounds, rate, size)]
    write_results(out / "perform.json", [row for table in tables for row in table.records()])
    return write_sound_report(
        out / "perform.html",
        "scorekit: phrases from piano rolls",
        {**facts(run), "seed": _SEED.value, "guidance scale": scale},
        tables,
        {name: x[shown] for name, x in sounds.items()},
        rate,
        row_labels=[f"{i}: program {program}" for i, program in enumerate(programs[shown])],
        further=[Heading("Piano rolls"), *write_rolls(out, rolls[shown], programs[shown])],
    )


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
