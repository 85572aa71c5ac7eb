"""Composes: from nothing, continuing a MIDI file, filling bars of it, or harmonising a melody.

    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --seconds=16 --key=Am --program=73
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --continue=song.mid --seconds=8
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --fill=song.mid --bars=2-3
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --harmonise=melody.mid --guidance=2
    python -m experiments.projects.audio.music.compose --workdir=runs/rolls --perform=runs/phrases

A masked model does all of these, a causal model the first two. Pieces longer than the windows of training are drawn in
windows that overlap by ``--context`` seconds. Writes ``<i>.mid``, a picture of the roll and the sound, from the
SoundFont and with ``--perform`` by a model of phrases, ``compositions.json``, a list of facts about each file, and
``report.html`` into ``workdir/compose`` or ``--out``.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.data import rolls
from experiments.data.keys import KEYS
from experiments.data.roll_sets import WINDOW, Song
from experiments.projects.audio.music import composing, pieces
from experiments.reporting.report import write_report
from experiments.tasks.sequences.sampling import open_run
from experiments.tasks.task import facts

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a config of rolls.")
_STEP, _SEED = shared.step(), shared.seed()
_NUM = shared.count("num", 4, "Number of pieces.")
_SECONDS = shared.seconds(16.384, "Length of a new piece or of a continuation.")
_CONTEXT = flags.DEFINE_float("context", 2.048, "Seconds of a window taken from the previous window.")
_CONTINUE = flags.DEFINE_string("continue", None, "A MIDI file to continue.")
_FILL = flags.DEFINE_string("fill", None, "A MIDI file with --bars or --span to be drawn anew.")
_BARS = flags.DEFINE_string("bars", None, "With --fill: bars of four beats, as 2-3.")
_SPAN = flags.DEFINE_string("span", None, "With --fill: seconds, as 1.5-4.")
_HARMONISE = flags.DEFINE_string("harmonise", None, "A MIDI file of a melody, to which the other voices are drawn.")
_OCTAVES = flags.DEFINE_bool("octaves", False, "Move notes of the file into the keys of the model by octaves.")
_KEY = flags.DEFINE_string("key", None, "The key, as Am or 'F# major'; by default from the file, or drawn.")
_PROGRAM = flags.DEFINE_integer("program", None, "General MIDI instrument; by default from the file, or 0.", 0, 127)
_GUIDANCE = flags.DEFINE_float("guidance", None, "Guidance scale; config.sampling.guidance_scale by default.", 0.0)
_PERFORM = flags.DEFINE_string("perform", None, "Folder of a run of phrases given their roll, which plays the pieces.")
_OUT = shared.out("Folder of the results; workdir/compose by default.")


def sketch() -> tuple[composing.Sketch, Song | None]:
    """What is given, and the song that it is from."""
    named = [flag for flag in (_CONTINUE, _FILL, _HARMONISE) if flag.value is not None]
    if len(named) > 1:
        raise ConfigError(f"--{named[1].name}: must not come with --{named[0].name}; a piece has one beginning")
    if not _FILL.value:
        shared.idle("without --fill", _BARS, _SPAN)
    if not named:
        shared.idle("without a MIDI file", _OCTAVES)
    if _SECONDS.present and named and named[0] is not _CONTINUE:
        raise ConfigError(f"--seconds: must be left out with --{named[0].name}; the piece is as long as the file")
    steps = round(_SECONDS.value / rolls.STEP) if np.isfinite(_SECONDS.value) else 0
    if steps < 1:
        raise ConfigError(f"--seconds={_SECONDS.value}: must be finite and at least {rolls.STEP}")
    if not named:
        return composing.nothing(steps), None
    return pieces.sketch(named[0].name, str(named[0].value), _OCTAVES.value, steps, _BARS.value, _SPAN.value)


def main(config: Config) -> Path:
    workdir = shared.path(_WORKDIR)
    context = round(_CONTEXT.value / rolls.STEP) if np.isfinite(_CONTEXT.value) else 0
    if not 1 <= context < WINDOW:
        raise ConfigError(f"--context={_CONTEXT.value}: must be from {rolls.STEP} to below {WINDOW * rolls.STEP} s")
    composing.check(config, given_later=_FILL.value is not None or _HARMONISE.value is not None)
    (sketched, song), label, num = sketch(), config.data.label or "key", _NUM.value
    keys = pieces.keys(label, _KEY.value, song, num, _SEED.value)
    program = _PROGRAM.value if _PROGRAM.value is not None else song.instrument if song is not None else 0
    scale = config.sampling.guidance_scale if _GUIDANCE.value is None else _GUIDANCE.value
    if not np.isfinite(scale) or (scale != 1 and not config.loss.label_dropout):
        allowed = "finite, and 1 of a model without config.loss.label_dropout, which is never unconditional"
        raise ConfigError(f"--guidance={scale}: must be {allowed}")
    out = shared.results_folder(_OUT, workdir / "compose")
    performer = None if _PERFORM.value is None else pieces.open_performer(_PERFORM.value, program, _SEED.value)
    run = open_run(config, workdir, _STEP.value, (scale,))
    labels = keys if label == "key" else np.full(num, program if label == "instrument" else 0)
    length = len(sketched.states) * rolls.STEP
    print(f"{num} {'piece' if num == 1 else 'pieces'} of {length:.3f} s …", flush=True)
    states = composing.compose(composing.make_fill(config, run, scale), sketched, labels, _SEED.value, context)
    task = next((f.name for f in (_CONTINUE, _FILL, _HARMONISE) if f.value), "new")
    known = {"task": task, "seed": _SEED.value, "guidance": scale, "model": config.model, "step": run.step}
    each = [{**known, **({"key": KEYS[key]} if label == "key" else {})} for key in keys]
    given = rolls.to_notes(sketched.states) if song is not None else ()
    sections = pieces.write(out, states, program, each, given, performer)
    summary = {**facts(run), "task": task, "guidance scale": scale, "program": program}
    return write_report(out / "report.html", "scorekit: compositions", summary, sections)


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value), tasks.check_fields)
