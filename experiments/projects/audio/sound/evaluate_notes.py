"""Draws notes for held-out labels and evaluates them, with the real held-out notes for comparison.

    python -m experiments.projects.audio.sound.evaluate_notes --workdir=runs/notes
    python -m experiments.projects.audio.sound.evaluate_notes --workdir=runs/notes --scales=0,1,2,4 --steps=6,25 \
        --num=512
    python -m experiments.projects.audio.sound.evaluate_notes --workdir=runs/notes --others=runs/notes_spectrogram

Every note has the instrument, pitch and velocity of a held-out one and the same noise at every scale and number of
steps. Prints a table and writes ``report.html`` with audio widgets, ``table.json`` and the sounds as WAV files into
``workdir/notes``. ``--others`` names further runs on the same data, with the sampling that they were saved with.

Columns: :mod:`experiments.projects.audio.note_evaluators` for pitch and family; the Fréchet distance is the distance of
:func:`scorekit.audio.log_mel_statistics` to the real training notes, in the real row the distance of as many held-out
notes; the real-time factor is seconds of computing for a second of sound, below 1 faster than real time.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.outputs import write_results
from experiments.data.dataset import evenly, rows_of
from experiments.data.notes import Notes
from experiments.projects.audio.sound import drawing
from experiments.projects.audio.sound.drawing import check_kind, check_results, instrument_names, note_name, open_kind
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import ConfigSection, Heading, write_report
from experiments.reporting.tables import metrics_table, tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.task import facts

_WORKDIR = shared.workdir("Folder of a run of experiments.train on notes.")
_OTHERS = flags.DEFINE_list("others", [], "Folders of further runs on the same notes.")
_STEP, _SEED = shared.step(), shared.seed()
_SCALES = flags.DEFINE_list("scales", None, "Guidance scales; by default from config.evaluation.")
_STEPS = flags.DEFINE_list("steps", None, "Numbers of solver steps; by default from config.sampling.")
_NUM = shared.count("num", 512, "Number of notes.", 8)
_SHOWN = shared.count("shown", 8, "Number of notes with audio widgets.")
REAL = "real held-out notes"


def main(config: Config) -> Path:
    check_results(Notes, config, _WORKDIR.value)
    scales: Sequence[float] = config.evaluation.guidance_scales
    scales = shared.guidance_scales("scales", _SCALES.value) if _SCALES.value else list(scales)
    steps = shared.step_counts("steps", _STEPS.value, "6,25") if _STEPS.value else [config.sampling.steps]
    for folder in _OTHERS.value:
        check_kind(Notes, diffusion.saved(folder), folder)
    run, workdir = open_kind(Notes, config, _WORKDIR.value, _STEP.value, scales)
    dataset, test = run.dataset, run.dataset.test
    num = min(_NUM.value, len(test["x"]))
    target = rows_of(test, slice(num))
    real = dataset.real(target)

    print("fitting evaluators to real training notes …", flush=True)
    evaluator = drawing.note_metrics(dataset)
    rows: dict[str, dict[str, float | None]] = {REAL: dict(evaluator(real, target))}
    shown = evenly(num, _SHOWN.value)
    sounds = {"held out": real[shown]}
    runs = [(workdir.name, run, config, [(scale, n) for n in steps for scale in scales])]
    runs += drawing.other_runs(_OTHERS.value, workdir.name, dataset)
    for name, each, its_config, points in runs:
        for scale, n in points:
            row = f"{f'{name}, ' if len(runs) > 1 else ''}γ = {scale:g}, {n} steps"
            print(f"drawing {num} notes, {row} …", flush=True)
            drawn = drawing.draw(each, its_config, target["label"], scale, n, _SEED.value)
            factor = drawn.seconds * dataset.sample_rate / real.shape[1]
            cost = {"evaluations": drawn.evaluations, "seconds a note": drawn.seconds, "real-time factor": factor}
            rows[row] = {**evaluator(drawn.sounds, target), **cost}
            sounds[row] = drawn.sounds[shown]

    out = workdir / "notes"
    table = metrics_table(rows, evaluator.caption(num, config.sampling.batch_size))
    write_results(out / "table.json", rows)
    names = [note_name(row, test, instrument_names(dataset)) for row in shown]
    widgets = audio_widgets(
        out / "sounds",
        sounds,
        dataset.sample_rate,
        row_labels=names,
        caption="Held-out notes; samples with their instrument, pitch and velocity.",
    )
    sections = [table, Heading("Sounds"), widgets, ConfigSection((workdir / "config.json").read_text())]
    summary = {**facts(run), "guidance": " + ".join(config.guidance), "solver": config.sampling.solver.name}
    summary["seed"] = _SEED.value
    summary["device"] = jax.devices()[0].device_kind
    print(tables_as_text([table]))
    return write_report(out / "report.html", f"scorekit: {dataset.name}, evaluation of notes", summary, sections)


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
