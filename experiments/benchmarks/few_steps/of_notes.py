"""Notes in 1, 2 or 4 evaluations: flow maps, and the denoiser that they started from with the best of its solvers.

The teacher is sampled, at every number of steps, with each of some solvers on each of some grids, and the pair with the
least Fréchet distance has a row; one step is Euler's. Further rows are its own sampler with many steps and
:func:`scorekit.samplers.few_steps`, of at least 5 evaluations. Students are sampled as they were saved, in each number
of steps, or in their own where the times of their grid are listed. All draw the instrument, pitch and velocity of
held-out notes, at the guidance scale of their config and without guidance where that is 1; for the columns see
:mod:`experiments.audio.evaluate_notes`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.audio import drawing
from experiments.benchmarks.few_steps.sounds import Comparison, check_students
from experiments.benchmarks.few_steps.teacher import untuned
from experiments.cli.config import Config
from experiments.configs import base
from experiments.data.dataset import Batch, evenly, preprocess, rows_of
from experiments.data.notes import Notes
from experiments.models import guidance, run_files
from experiments.models.conditioning import conditions_for
from experiments.models.guidance import make_guided
from experiments.models.runs import Run
from experiments.models.sampling import at_steps, make_sampler, possible_steps
from scorekit import process, samplers

Draw = Callable[[], np.ndarray]
Row = tuple[str, int, Draw]
"""A name, a number of steps and what draws the sounds."""


def drawn(run: Run, config: Config, labels: np.ndarray, seed: int) -> Draw:
    """Sounds by the sampler of a config."""
    generate = make_sampler(config, run.model, run.dataset, run.extras)
    return lambda: generate(run.params, seed, labels, config.sampling.guidance_scale)


def drawn_by_table(run: Run, config: Config, labels: np.ndarray, steps: int, seed: int) -> Draw:
    """Sounds by :func:`scorekit.samplers.few_steps`, with the standard deviation of the training data."""
    model, size = run.model, config.sampling.batch_size
    few = preprocess(run.dataset, rows_of(run.dataset.train, evenly(len(run.dataset.train["x"]), 512)))
    std = float(jnp.std(few["x"]))
    solver, ts = samplers.few_steps(model.schedule, steps, sigma_data=std)
    guided, given = make_guided(config, model), conditions_for(model, run.dataset, labels)
    scale = guidance.traced_scale(config, config.sampling.guidance_scale)

    @jax.jit
    def batch(params, key, given):
        like = jax.ShapeDtypeStruct((len(given["labels"]), *model.shape), jnp.float32)
        noise = process.sample_prior(key, model.schedule, like, ts[0])
        denoiser = guided(params, given, scale, run.extras)
        return run.dataset.from_model(samplers.sample(None, denoiser, model.schedule, solver, noise, ts), given)

    def draw() -> np.ndarray:
        keys = [jax.random.fold_in(jax.random.key(seed), i) for i in range(-(-len(labels) // size))]
        parts = [jax.tree.map(lambda leaf: leaf[i * size : (i + 1) * size], given) for i in range(len(keys))]  # noqa: B023
        return np.concatenate([np.asarray(batch(run.params, *pair)) for pair in zip(keys, parts, strict=True)])

    return draw


def of_teacher(run: Run, config: Config, labels: np.ndarray, options: flags.FlagValues) -> Iterator[Row]:
    """Every sampler of the teacher."""
    seed, tabulated, many = options.seed, options.tabulated, options.many
    for n in map(int, options.steps):
        for name, changed in untuned(config, n, options.solvers, options.grids):
            yield name, n, drawn(run, changed, labels, seed)
    yield "few_steps", tabulated, drawn_by_table(run, config, labels, tabulated, seed)
    yield "its own sampler", many, drawn(run, at_steps(config, many), labels, seed)


def best(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All rows, but of the teacher only the closest row for each number of evaluations.

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


def run(config: Config, options: flags.FlagValues) -> Path:
    """Prints the table of a teacher and its students, and writes a report that plays some notes."""
    workdir, students, seed = options.workdir, options.students, options.seed
    drawing.check_results(Notes, config, workdir)
    fields = ("name", "path", "label", *run_files.SPLITS)
    check_students(workdir, config, students, fields, lambda config, given: drawing.check_kind(Notes, config, given))
    run, path = drawing.open_kind(Notes, config, workdir, options.step)
    dataset = run.dataset
    num = min(options.num, len(dataset.test["x"]))
    target: Batch = rows_of(dataset.test, slice(num))
    labels, shown = target["label"], evenly(num, options.shown)
    comparison = Comparison(path, config, {"notes": num, "seed": seed})
    print("fitting evaluators to real training notes …", flush=True)
    evaluator = drawing.note_metrics(dataset)

    def add(name: str, of: str, evaluations: int | None, draw: Draw, path: Path = path) -> None:
        def compute() -> tuple[dict[str, Any], np.ndarray]:
            x = draw()
            return {"of": of, "evaluations": evaluations, **evaluator(x, target)}, x[shown]

        comparison.add(name, compute, path)

    add("real held-out notes", "data", None, lambda: dataset.real(target))
    for name, n, draw in of_teacher(run, config, labels, options):
        add(f"{path.name} at {run.step}, {name}, {n} steps", "teacher", n, draw)
    for folder in students:
        its = base.saved(folder)
        student, its_path = drawing.open_kind(Notes, its, folder)
        for n in possible_steps(its, [*map(int, options.steps)]):
            draw = drawn(student, at_steps(its, n), labels, seed)
            add(f"{its_path.name} at {student.step}, {n} steps", "student", n, draw, its_path)
    caption = f"{num} notes each; Fréchet distance of log_mel_statistics to {len(evaluator.features):,} training notes"
    names = [drawing.note_name(row, dataset.test, drawing.instrument_names(dataset)) for row in shown]
    return comparison.report("notes in few steps", run, best(comparison.rows()), caption, dataset.sample_rate, names)
