"""Phrases from their piano roll, longer than what the model was trained on: MIDI to audio.

    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases
    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases --seconds=8.192 --num=16
    python -m experiments.projects.audio.sound.perform --workdir=runs/phrases --midi=song.mid --program=73

The model, trained on crops of ``config.data.crop`` samples, denoises overlapping windows of that length, blended at
every step; for comparison also separate windows. New phrases are drawn from seeds of no training or test phrase and
rendered from the SoundFont too, so that chroma and onsets can be compared with their target. A MIDI file is played by
one instrument, without its percussion, and nothing is compared; notes outside the keys of the model are an error, or
moved with ``--octaves``. Prints a table and writes ``perform.html`` with audio widgets and piano rolls,
``perform.json``, the sounds and, as ``.mid``, what they play into ``workdir/perform``.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.data.phrases import Phrases
from experiments.projects.audio.sound import long_sounds
from experiments.projects.audio.sound.drawing import check_results, open_kind
from experiments.projects.audio.sound.sound_report import write_sound_report
from experiments.reporting.report import Heading
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.task import facts
from scorekit.data.phrases import FRAME_RATE, PROGRAMS, piano_roll, random_phrase

FIRST_SEED = 2 * 10**9
"""The first seed of new phrases: no training or test phrase has one of them."""

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a config of phrases.")
_STEP, _SEED = shared.step(), shared.seed()
_SECONDS = shared.seconds(4.096, "Minimum length of a phrase.")
_NUM = shared.count("num", 20, "Number of new phrases.", 2)
_SHOWN = shared.count("shown", 5, "Number of phrases with audio widgets.")
_OVERLAP = flags.DEFINE_float("overlap", 0.5, "Fraction of a window that the next window overlaps.")
_MIDI = flags.DEFINE_string("midi", None, "A MIDI file to play in place of new phrases.")
_OCTAVES = flags.DEFINE_bool("octaves", False, "Move notes of --midi into the keys of the model by octaves.")
_PROGRAM = flags.DEFINE_integer("program", 0, "The instrument for --midi, one of the training set.")


def check(config: Config) -> None:
    """Validates the flags and the conditions of the model."""
    long_sounds.check_roll(config)
    if not 0 <= _OVERLAP.value < 1:
        raise ConfigError(f"--overlap={_OVERLAP.value}: must be in [0, 1)")
    if not 0 < _SECONDS.value < float("inf"):
        raise ConfigError(f"--seconds={_SECONDS.value}: must be finite and > 0")
    if _PROGRAM.value not in PROGRAMS:
        raise ConfigError(f"--program={_PROGRAM.value}: must be one of {', '.join(map(str, PROGRAMS))}")
    if _MIDI.value is None:
        shared.idle("without --midi", _PROGRAM, _OCTAVES)
    else:
        shared.idle("with --midi", _NUM, _SECONDS)


def scores_and_programs(config: Config):
    """The phrases to play, and their instruments."""
    if _MIDI.value is not None:
        return [long_sounds.read_notes(long_sounds.keys_of(config), _MIDI.value, _OCTAVES.value)], [_PROGRAM.value]
    scores = [random_phrase(FIRST_SEED + i, _SECONDS.value) for i in range(_NUM.value)]
    return scores, [PROGRAMS[i % len(PROGRAMS)] for i in range(_NUM.value)]


def main(config: Config) -> Path:
    check_results(Phrases, config, _WORKDIR.value)
    check(config)
    scale, from_midi = config.sampling.guidance_scale, _MIDI.value is not None
    scores, programs = scores_and_programs(config)
    run, workdir = open_kind(Phrases, config, _WORKDIR.value, _STEP.value, (scale,))
    rate, size = run.dataset.sample_rate, long_sounds.window_of(run)
    hop = long_sounds.hop_of(run, _OVERLAP.value)
    last = max(note.end for score in scores for note in score) if from_midi else _SECONDS.value
    length = size + max(-(-(round(last * rate) - size) // hop), 0) * hop
    rolls = np.stack([piano_roll(score, 1 + length // round(rate / FRAME_RATE)) for score in scores])
    hops = {"blended windows": hop} if from_midi else {"blended windows": hop, "separate windows": size}
    print(f"{len(rolls)} phrases of {length / rate:.3f} s in windows of {size / rate:.3f} s …", flush=True)
    sounds = {} if from_midi else {"rendered": long_sounds.render(scores, programs, rate, length)}
    with progress.Progress(len(hops), batch_size=len(rolls), label="perform") as bar:
        for i, (name, step) in enumerate(hops.items()):
            drawn = long_sounds.perform(config, run, rolls, np.asarray(programs, np.int32), step, _SEED.value)
            sounds[name] = drawn[:, :length]
            bar.update(1 + i)
    out = workdir / "perform"
    tables = [] if from_midi else [long_sounds.compare(sounds, rate, size)]
    labels = [f"{i}: program {program}" for i, program in enumerate(programs[: _SHOWN.value])]
    figures = long_sounds.write_rolls(out, rolls[: _SHOWN.value], programs[: _SHOWN.value])
    write_results(out / "perform.json", [row for table in tables for row in table.records()])
    shown = {name: x[: _SHOWN.value] for name, x in sounds.items()}
    return write_sound_report(
        out / "perform.html",
        "scorekit: phrases from piano rolls",
        {**facts(run), "seed": _SEED.value, "guidance scale": scale},
        tables,
        shown,
        rate,
        row_labels=labels,
        further=[Heading("Piano rolls"), *figures],
    )


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
