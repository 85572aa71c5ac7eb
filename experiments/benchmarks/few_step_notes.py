"""Notes in 1, 2 or 4 evaluations: flow maps, and the denoiser that they started from with the best of its solvers.

    python -m experiments.benchmarks.few_step_notes --workdir=runs/notes_teacher --students=runs/a,runs/b

The teacher is sampled, at every number of steps, with each of ``--solvers`` on each of ``--grids``, and the pair with
the least Fréchet distance has a row; one step is Euler's. Further rows are its own sampler with ``--many`` steps and
:func:`scorekit.samplers.few_steps` with ``--tabulated`` evaluations, at least 5. Students are sampled as they were
saved, in each number of steps, or in their own where the times of their grid are listed. All draw the instrument, pitch
and velocity of held-out notes, at the guidance scale of their config and without guidance where that is 1; the columns
are those of :mod:`experiments.audio.evaluate_notes`. The rows are kept in ``workdir/few_steps/rows.json`` and their
sounds next to it: the same command goes on where it was stopped, and further rows are added. ``report.html`` plays
some.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.audio import drawing
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import base
from experiments.data import matching
from experiments.data.dataset import Batch, evenly, preprocess, rows_of
from experiments.data.notes import Notes
from experiments.evaluation.kept_rows import KeptRows, check_names, overridden
from experiments.models import rules
from experiments.models.conditioning import conditions_for
from experiments.models.rules import make_guided
from experiments.models.runs import Run, facts, write_arrays
from experiments.models.sampling import at_steps, make_sampler, possible_steps
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, tables_as_text, write_report
from experiments.reporting.tables import metrics_table
from scorekit import process, samplers

_WORKDIR = shared.workdir("Folder of the teacher's run.")
_STUDENTS = flags.DEFINE_list("students", [], "Folders of flow maps of the same notes.")
_STEP, _SEED = shared.step(), shared.seed()
_STEPS = flags.DEFINE_list("steps", "1,2,4", "Numbers of steps.")
_SOLVERS = flags.DEFINE_list("solvers", "euler,dpmpp_2m,unipc", "Solvers to choose from for the teacher.")
_GRIDS = flags.DEFINE_list("grids", "log_snr,uniform", "Grids to choose from for the teacher.")
_TABULATED = shared.count("tabulated", 5, "Evaluations of samplers.few_steps.", 5)
_MANY = shared.count("many", 25, "Steps of the teacher's own sampler.")
_NUM = shared.count("num", 512, "Number of notes.", 2)
_SHOWN = shared.count("shown", 6, "Number of notes with audio widgets.")

Draw = Callable[[], np.ndarray]


def drawn(run: Run, config: Config, labels: np.ndarray) -> Draw:
    """Sounds by the sampler of a config."""
    generate = make_sampler(config, run.model, run.dataset, run.extras)
    return lambda: generate(run.params, _SEED.value, labels, config.sampling.guidance_scale)


def drawn_by_table(run: Run, config: Config, labels: np.ndarray, steps: int) -> Draw:
    """Sounds by :func:`scorekit.samplers.few_steps`, with the standard deviation of the training data."""
    model, size = run.model, config.sampling.batch_size
    few = preprocess(run.dataset, rows_of(run.dataset.train, evenly(len(run.dataset.train["x"]), 512)))
    std = float(jnp.std(few["x"]))
    solver, ts = samplers.few_steps(model.schedule, steps, sigma_data=std)
    guided, given = make_guided(config, model), conditions_for(model, run.dataset, labels)
    scale = rules.traced_scale(config, config.sampling.guidance_scale)

    @jax.jit
    def batch(params, key, given):
        like = jax.ShapeDtypeStruct((len(given["labels"]), *model.shape), jnp.float32)
        noise = process.sample_prior(key, model.schedule, like, ts[0])
        denoiser = guided(params, given, scale, run.extras)
        return run.dataset.from_model(samplers.sample(None, denoiser, model.schedule, solver, noise, ts), given)

    def draw() -> np.ndarray:
        keys = [jax.random.fold_in(jax.random.key(_SEED.value), i) for i in range(-(-len(labels) // size))]
        parts = [jax.tree.map(lambda leaf: leaf[i * size : (i + 1) * size], given) for i in range(len(keys))]  # noqa: B023
        return np.concatenate([np.asarray(batch(run.params, *pair)) for pair in zip(keys, parts, strict=True)])

    return draw


def with_sampling(config: Config, solver: str, grid: str, steps: int) -> Config:
    """The config with another solver and grid, with the defaults of their fields."""
    config = at_steps(config, steps)
    for section, name in ((config.sampling.solver, solver), (config.sampling.grid, grid)):
        section.update({field: name if field == "name" else None for field in section})
    return config


def of_teacher(run: Run, config: Config, labels: np.ndarray, steps: list[int]) -> Iterator[tuple[str, int, Draw]]:
    """The name, the number of steps and the draw of every sampler of the teacher."""
    for n in steps:
        for solver in _SOLVERS.value if n > 1 else _SOLVERS.value[:1]:  # the first step is Euler's
            for grid in _GRIDS.value if n > 1 else _GRIDS.value[:1]:
                yield f"{solver}, {grid}", n, drawn(run, with_sampling(config, solver, grid, n), labels)
    yield "few_steps", _TABULATED.value, drawn_by_table(run, config, labels, _TABULATED.value)
    yield "its own sampler", _MANY.value, drawn(run, at_steps(config, _MANY.value), labels)


def best(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All rows but those of the teacher that another of its samplers with as many evaluations comes closer than.

    >>> near, far = ({"of": "teacher", "evaluations": 2, "Fréchet distance": distance} for distance in (1.0, 3.0))
    >>> best({"near": near, "far": far, "map": {**far, "of": "student"}})
    {'near': {'evaluations': 2, 'Fréchet distance': 1.0}, 'map': {'evaluations': 2, 'Fréchet distance': 3.0}}
    """
    chosen: dict[int, str] = {}
    for name, row in rows.items():
        n, distance = row["evaluations"], row["Fréchet distance"]
        if row["of"] == "teacher" and (n not in chosen or distance < rows[chosen[n]]["Fréchet distance"]):
            chosen[n] = name
    kept = {name: row for name, row in rows.items() if row["of"] != "teacher" or name in chosen.values()}
    return {name: {k: v for k, v in row.items() if k != "of"} for name, row in kept.items()}


def main(config: Config) -> None:
    start = time.monotonic()
    steps = shared.step_counts("steps", _STEPS.value, "1,2,4")
    drawing.check_results(Notes, config, _WORKDIR.value)
    students = {drawing.check_kind(Notes, base.saved(folder), folder): base.saved(folder) for folder in _STUDENTS.value}
    check_names("--workdir and --students", [drawing.check_kind(Notes, config, _WORKDIR.value), *students])
    for folder, its_config in students.items():
        fields = ("name", "path", "label", *matching.SPLITS)
        matching.check(its_config, config, f"--students={folder}", str(_WORKDIR.value), fields)
    run, workdir = drawing.open_kind(Notes, config, _WORKDIR.value, _STEP.value)
    dataset, out = run.dataset, workdir / "few_steps"
    num = min(_NUM.value, len(dataset.test["x"]))
    target: Batch = rows_of(dataset.test, slice(num))
    changed = overridden(config, base.saved(_WORKDIR.value))
    kept = KeptRows(out / "rows.json", {"notes": num, "seed": _SEED.value, "config": changed})
    print("fitting evaluators to real training notes …", flush=True)
    evaluator = drawing.note_metrics(dataset)
    shown, sounds = evenly(num, _SHOWN.value), {}

    def add(name: str, of: str, evaluations: int | None, draw: Draw, path: Path = workdir) -> None:
        file = out / "rows" / f"{name.replace(', ', '_').replace(' ', '_')}.npz"

        def compute() -> dict[str, Any]:
            x = draw()
            write_arrays(file, x=x[shown])
            return {"of": of, "evaluations": evaluations, **evaluator(x, target)}

        kept.row(name, compute, path)
        sounds[name] = np.load(file)["x"]

    add("real held-out notes", "data", None, lambda: dataset.real(target))
    for name, n, draw in of_teacher(run, config, target["label"], steps):
        add(f"{workdir.name} at {run.step}, {name}, {n} steps", "teacher", n, draw)
    for folder, its_config in students.items():
        student, path = drawing.open_kind(Notes, its_config, folder)
        for n in possible_steps(its_config, steps):
            add(f"{path.name} at {student.step}, {n} steps", "student", n,
                drawn(student, at_steps(its_config, n), target["label"]), path)  # fmt: skip
    rows = best(kept.rows())
    caption = f"{num} notes each; Fréchet distance of log_mel_statistics to {len(evaluator.features):,} training notes"
    table = metrics_table(rows, caption)
    print(tables_as_text([table]))
    names = [drawing.note_name(row, dataset.test, drawing.instrument_names(dataset)) for row in shown]
    heard = {name: sounds[name] for name in rows}
    widgets = audio_widgets(out / "sounds", heard, dataset.sample_rate, row_labels=names)
    sections = [table, Heading("Sounds"), widgets]
    report = write_report(out / "report.html", "scorekit: notes in few steps", facts(run), sections)
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
