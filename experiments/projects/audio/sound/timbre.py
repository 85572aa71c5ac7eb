"""Timbre transfer: held-out notes of one instrument as another would play them, by the flow of one model.

    python -m experiments.projects.audio.sound.timbre --workdir=runs/notes
    python -m experiments.projects.audio.sound.timbre --workdir=runs/notes --to=73 --num=48 --config.sampling.steps=50

A note is encoded to noise by the probability-flow ODE with its own conditions, and decoded with the same pitch and
velocity but another instrument, by the solver and the grid of ``--config.sampling``. Evaluators that are independent of
the model (:mod:`experiments.projects.audio.note_evaluators`) predict the family and track the pitch. Decoding with the
own conditions shows the error of the round trip. A model of controls (``config.data.representation.name=controls``)
also samples the other instrument given the pitch and the loudness of the note, frame by frame, as an inverse problem
that ``mmps`` solves. Prints a table, and writes ``timbre.html`` with audio widgets and ``timbre.json`` into
``workdir/timbre``.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, require
from experiments.cli.outputs import write_results
from experiments.data.dataset import evenly, rows_of
from experiments.data.notes import Notes
from experiments.projects.audio import note_evaluators
from experiments.projects.audio.sound.drawing import check_results, open_kind
from experiments.projects.audio.sound.sound_report import write_sound_report
from experiments.projects.audio.sound.transfer import transfer
from experiments.projects.audio.translation.timbre import FAMILY, compare
from experiments.reporting.tables import metrics_table
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.task import facts

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a config of notes.")
_STEP = shared.step()
_TO = flags.DEFINE_string("to", None, "Target instrument, by name or number; by default three families further.")
_NUM = shared.count("num", 48, "Number of held-out notes, evenly from the test set.")
_SHOWN = shared.count("shown", 6, "Number of notes with audio widgets.")


def main(config: Config) -> Path:
    check_results(Notes, config, _WORKDIR.value)
    label = config.data.label
    require(label in (None, "instrument"), "data.label", label, "instrument: the class must be the instrument")
    run, workdir = open_kind(Notes, config, _WORKDIR.value, _STEP.value)
    dataset, rate, num_classes = run.dataset, run.dataset.sample_rate, run.dataset.num_classes
    batch = rows_of(dataset.test, evenly(len(dataset.test["x"]), _NUM.value))
    targets = (batch["label"] + 3 * FAMILY) % (num_classes // FAMILY * FAMILY)
    targets = targets.astype(np.int32)
    if _TO.value is not None:
        targets[:] = shared.classes("to", [_TO.value], num_classes, dataset.class_names)
    print(f"{len(targets)} held-out notes with step {run.step:,}; fitting the evaluators …", flush=True)
    train = dataset.train
    families = {"instrument": train["label"], "family": train["label"] // FAMILY, "pitch": train["pitch"]}
    evaluators = note_evaluators.fit_note_evaluators(dataset.real(train), families, rate)
    sounds = transfer(config, run, batch, targets)
    table = metrics_table(*compare(evaluators, sounds, batch, targets, rate))
    out = workdir / "timbre"
    write_results(out / "timbre.json", table.records())
    shown = evenly(len(targets), _SHOWN.value)
    own, other = dataset.named(batch["label"]), dataset.named(targets)
    labels = [f"{own[i]} as {other[i]}, pitch {batch['pitch'][i]}" for i in shown]
    sounds = {name: x[shown] for name, x in sounds.items()}
    summary = {**facts(run), "seed": config.seed, "steps": config.sampling.steps}
    title = "scorekit: timbre transfer"
    return write_sound_report(out / "timbre.html", title, summary, [table], sounds, rate, row_labels=labels)


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
