"""Samples of few steps: students and flow maps beside their teacher with the best of its usual solvers, at equal steps.

    python -m experiments.benchmarks.few_steps --workdir=runs/digits --students=runs/digits_fast,runs/a/rounds/4
    python -m experiments.benchmarks.few_steps --workdir=runs/digits --out=runs/few_steps --seconds=350

For images and points. Students that exist are sampled with their own config, a flow map at every number of steps.
Without ``--students`` every loss and student is trained here for ``--seconds`` of CPU time without compilation, with
AdamW in batches of 64 (drifting: 256) whatever ``config.training`` says, from the parameters of the teacher or,
``data_…``, from random ones (``data_consistency_tuning`` from the teacher's). The teacher is guided as in its config,
and so are its students. Models trained from data, as ``drifting`` is too, are not guided, except for ``…any_scale``,
which have γ as a condition.

At every number of steps the teacher has the solver and grid with the smallest energy distance to the held-out data, and
a tuned sampler. *calls*: network evaluations per sample, where a guided pair counts 2. *ms*: milliseconds per sample in
batches of the config's size, the least of the compiled draws. *Fréchet*: the distance to the training data. *±* is the
standard error over ``--seeds`` draws.
"""

import functools
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.data.display import Scorer
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import at_steps, build_rules, build_sampler, dropout, make_sampler
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.runs import open_score
from experiments.tasks.diffusion.tuning import references
from experiments.tasks.flow_maps import distillation, students
from experiments.tasks.flow_maps.distillation import TrainingTask
from experiments.tasks.flow_maps.task import RECIPE, recipe_of
from experiments.tasks.task import Run
from experiments.training import build_optimizer
from experiments.training.hooks import LOOKED_AT, check_steps
from scorekit import flow_maps, metrics, training, tuning
from scorekit.io import as_path, write_atomic
from scorekit.networks import with_new_parameters
from scorekit.typing import PyTree

_WORKDIR = shared.workdir("Folder of the teacher's run.")
_OUT = shared.out("Folder of the rows, a file for the teacher and for each method.", "runs/few_steps")
_STEP = shared.step()
_STUDENTS = flags.DEFINE_list("students", [], "Folders of runs to compare with the teacher's.")
_COUNTS = flags.DEFINE_list("steps", "1,2,4", "Numbers of steps.")
_NUM = shared.define(flags.DEFINE_integer, "num", 1500, "Samples of each.", 10, shared.MOST)
_METHODS = flags.DEFINE_list("methods", None, "Methods to train; all by default, and none with --students.")
_SECONDS = flags.DEFINE_float("seconds", 300.0, "CPU seconds of training of each method.", lower_bound=0.01)
_SEEDS = flags.DEFINE_integer("seeds", 1, "Draws of the samples.", 1, shared.MOST)
_TEACHER = flags.DEFINE_bool("teacher", True, "Also evaluate the teacher.")
_UPDATES = shared.count("updates", 150, "Updates of the tuned samplers of the teacher; 0 leaves them out.", 0)


class Candidate(NamedTuple):
    """A trained model, the config to sample it with in a number of steps, and more of its row."""

    steps: int
    config: Config
    model: Model
    params: PyTree
    name: str = ""
    cost: Mapping[str, Any] = {}


def rate(progress: float) -> float:
    """The factor of the learning rate: linear to 1 in a twentieth of the time, then a cosine to 0."""
    return min(20.0 * progress, 1.0) * (1.0 + math.cos(math.pi * progress)) / 2.0


def train(task: TrainingTask, config: Config, run: Run, seconds: float) -> tuple[PyTree, dict[str, float]]:
    """Averaged parameters of a task trained until ``seconds`` of CPU time of all threads are spent, and its cost.

    The learning rate is a function of the fraction that is spent. The first two updates compile and do not count.
    """
    options, spent, updates = config.training, 0.0, 0
    scale = optax.inject_hyperparams(optax.scale)(step_size=0.0)
    optimizer = optax.chain(task.optimizer or build_optimizer(options), scale)
    state = training.init_state(jax.random.key(config.seed), task.init(), optimizer, options.ema_decays)
    step = training.make_train_step(task.prepare, task.loss, optimizer)
    while spent < seconds:
        progress = spent / seconds
        cast(Any, state.opt_state)[-1].hyperparams["step_size"] = jnp.float32(rate(progress))
        batch = run.dataset.batch(config.seed, updates, options.batch_size)
        start = time.process_time()
        state, _ = step(state, {**batch, "progress": np.full(options.batch_size, progress, np.float32)})
        jax.block_until_ready(state)
        spent += (time.process_time() - start) * (updates >= 2)
        updates += 1
        if updates % LOOKED_AT == 0 or spent >= seconds:
            check_steps(state, options.skip_limit)
    return task.student(state.ema[str(options.ema_decays[0])]), {"updates": updates, "CPU seconds": round(spent)}


CONSTANT = {"warmup_steps": 0, "final_fraction": 1.0, "batch_size": 64}
"""Fields of ``config.training``: the learning rate follows the time instead."""
CLOCK = {"preconditioning.noise.name": "clock"}
SCRATCH = {**CLOCK, "schedule.name": "rectified_flow", "loss.target.name": "velocity"}
"""MeanFlow's schedule and target, with a noise input whose derivative along a path is bounded."""
TUNING = {"loss.times.name": "log_normal_sigma", "sampling.grid.t_max": 0.95}
LARGE = {"training.batch_size": 256, "sampling.steps": 1}  # a class has several samples in a batch
WINDOWS = {"loss.flow_map.windows": (4, 8), "loss.flow_map.depth": 1, "loss.flow_map.penalty": 0.3}
WINDOWS |= {"sampling.steps": 1, "training.learning_rate": 4e-4, "training.betas": (0.5, 0.99)}


def from_data(loss: str, changes: Mapping[str, Any], from_teacher: bool = False) -> Callable:
    """A flow map from data alone, and from random parameters or the teacher's."""

    def method(teacher, run, seconds, steps):
        config = teacher.copy_and_resolve_references()
        config.training.update(optimizer="adamw", ema_decays=(0.99,), power_ema=None, **CONSTANT)
        config.loss.flow_map.name = loss
        config.update_from_flattened_dict(dict(changes))
        config.sampling.ema = str(config.training.ema_decays[0])
        config.guidance = ("conditional",)
        config.sampling.solver.update(name="flow_map", gamma=None)
        config.sampling.grid.update(name="uniform")
        scale = 1.0 if config.loss.guidance_max is None else teacher.sampling.guidance_scale
        config.sampling.guidance_scale, config.evaluation.guidance_scales = scale, (scale,)
        model = checks.build(config, run.dataset).model
        if loss in ("stable_consistency", "consistency_tuning"):  # jumps to t = 0 alone
            config.sampling.solver.gamma = 1.0
        fresh = model.init(jax.random.key(config.seed))
        start = with_new_parameters(run.params, fresh) if from_teacher else fresh
        init = lambda: jax.tree.map(jnp.array, start)  # a copy, as the step takes its buffers
        task = TrainingTask(init, make_prepare(model, run.dataset, *dropout(config)), make_loss(model))
        params, cost = train(task, config, run, seconds)
        for n in steps if loss not in ("adversarial", "drifting") else (1,):
            yield Candidate(n, at_steps(config, n), model, params, cost=cost)

    return method


def from_teacher(method: str, changes: Mapping[str, Any]) -> Callable:
    """A student of the teacher."""

    def run_method(config, run, seconds, steps):
        config = students.with_fields(config.copy_and_resolve_references(), method)
        config.training.update(CONSTANT)
        config.update_from_flattened_dict({**changes, "distillation.steps": 1})
        config, options = students.split_fields(config)
        if method == "progressive":
            yield from progressive(config, run, options.teacher_steps, seconds, steps)
            return
        own = students.config_of_student(config, options, run.model.schedule)
        model, task = distillation.training_task(own, config, options, run)
        params, cost = train(task, own, run, seconds)
        for n in steps if method != "matching" else (1,):
            options.steps = n
            at = students.config_of_student(config, options, run.model.schedule)
            yield Candidate(n, at, model, params, cost=cost)

    return run_method


def progressive(config, run, teacher_steps, seconds, steps) -> Iterator[Candidate]:
    """Students of 4, 2 and 1 steps, each the teacher of the next, which share the time with the rounds before them."""
    ts, params = students.configured_grid(config, run.model.schedule, teacher_steps), run.params
    teacher = distillation.teacher_of(config, run)
    counts, total = flow_maps.halvings(teacher_steps, 1), {}
    for n in counts:
        task = distillation.progressive(run.model, run.dataset, params, teacher, ts)
        params, cost = train(task, config, run, seconds / len(counts))
        total = {name: total.get(name, 0) + value for name, value in cost.items()}
        ts, teacher = ts[::2], functools.partial(run.model.denoiser, params)
        if n in steps:
            yield Candidate(n, students.config_at(config, "progressive", ts), run.model, params, cost=total)


LOSSES = ("mean_flow", "improved_mean_flow", "eulerian", "lagrangian", "progressive", "shortcut")
METHODS: dict[str, Callable[[Config, Run, float, list[int]], Iterator[Candidate]]] = {
    **{name: from_teacher(name, {}) for name in students.SECTIONS},
    "lagrangian_any_scale": from_teacher("lagrangian", {"distillation.guidance_max": 4.0}),
    **{f"data_{loss}": from_data(loss, SCRATCH) for loss in LOSSES},
    "data_adversarial": from_data("adversarial", SCRATCH | WINDOWS),
    "data_drifting": from_data("drifting", SCRATCH | LARGE),
    "data_any_scale": from_data("improved_mean_flow", SCRATCH | {"loss.guidance_max": 4.0}),
    "data_stable_consistency": from_data("stable_consistency", CLOCK),
    "data_consistency_tuning": from_data("consistency_tuning", TUNING, from_teacher=True),
    "drifting": from_data("drifting", LARGE, from_teacher=True),
}
"""Candidates from the config and run of the teacher, CPU seconds and numbers of steps."""
SAMPLERS = [*itertools.product(("euler", "dpmpp_2m", "unipc"), ("vp_quadratic", "uniform"))]


def of_teacher(config: Config, run: Run, steps: list[int], folder: Path, updates: int) -> Iterator[list[Candidate]]:
    """The teacher with its own sampler, and for each number of steps with all usual ones and with a tuned one."""

    def candidate(kind, solver, grid, n):
        own = at_steps(config, n)
        for section, chosen in ((own.sampling.solver, solver), (own.sampling.grid, grid)):
            section.name = chosen
            section.update({field: None for field in section if field != "name"})
        return Candidate(n, own, run.model, run.params, f"teacher, {kind} ({solver}, {grid})")

    yield [Candidate(config.sampling.steps, config, run.model, run.params, f"teacher ({config.sampling.solver.name})")]
    for n in steps:
        yield [candidate("untuned", *pair, n) for pair in SAMPLERS[: None if n > 1 else 1]]  # all begin with Euler's
        if updates:
            path, schedule = folder / f"tuned_{n}.json", run.model.schedule
            tuned = candidate("tuned", "unipc" if n > 1 else "euler", "vp_quadratic", n)
            solver, ts = build_sampler(tuned.config, schedule)
            guided, drawn, held_out = references(tuned.config, run, ts, 50, 500, 64)
            how = {"coefficients": True, "steps": updates}
            found = tuning.tune(guided, schedule, solver, {"configured": ts}, drawn, held_out, **how)
            tuning.save_grid(path, found, schedule)
            tuned.config.sampling.grid.update(name="file", path=str(path))
            yield [tuned]


def of_student(folder: Path, steps: list[int]) -> Iterator[Candidate]:
    """A student at its own number of steps, or at every one if it is a flow map."""
    recipe = recipe_of(folder.parent.parent if folder.parent.name == "rounds" else folder)
    config, method = diffusion.saved(str(folder)), recipe["config.distillation.method"]
    for n in steps if method in students.MAP_LOSSES else [config.sampling.steps]:
        run = open_score(own := at_steps(config, n), folder)
        yield Candidate(n, own, run.model, run.params, f"{method} ({config.sampling.solver.name})")


def measured(name: str, each: Candidate, run: Run, scorer: Scorer, num: int, seeds: int) -> dict[str, Any]:
    """The row of a candidate, with the mean and standard error over seeds of each metric."""
    generate = make_sampler(config := each.config, each.model, run.dataset, run.extras)
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1)
    train, seconds, found = flat(run.dataset.to_model(run.dataset.train["x"])), [], []
    for i in range(max(seeds, 2)):
        start = time.monotonic()
        x = generate(each.params, 1 + i % seeds, labels, config.sampling.guidance_scale)
        seconds.append(time.monotonic() - start)
        if i < seeds:
            distance = float(jax.jit(metrics.frechet_distance)(train, flat(x)))
            found.append({**scorer.samples(x, labels), "Fréchet": distance})
    values = {name: [row[name] for row in found] for name in found[0]}
    error = lambda v: float(np.std(v, ddof=1) / np.sqrt(len(v))) if len(v) > 1 else 0.0
    solver, ts = build_sampler(config, each.model.schedule)
    one = config.sampling.solver.name == "flow_map" or config.guidance[0] == "conditional"
    pair = not one and not build_rules(config).is_plain(config.sampling.guidance_scale)
    calls, ms = solver.evals_per_step * (len(ts) - 1) * (1 + pair), 1e3 * min(seconds[1:]) / num
    head = {"": each.name or name, "steps": each.steps, "calls": calls, "ms": ms, **each.cost}
    return {**head, "metrics": {name: [float(np.mean(v)), error(v)] for name, v in values.items()}}


def main(config: Config) -> Path:
    steps = shared.step_counts("steps", _COUNTS.value, "1,2,4")
    paths = [Path(folder).expanduser().absolute() for folder in _STUDENTS.value]
    for path in paths:
        if not any((folder / RECIPE).exists() for folder in (path, path.parent.parent)):
            raise ConfigError(f"--students={path}: there is no student here")
    run = open_score(config, as_path(_WORKDIR.value).absolute(), _STEP.value, (config.sampling.guidance_scale,))
    scorer, kind = run.dataset.scorer(), run.dataset.name
    if scorer is None:
        raise ConfigError(f"--workdir={_WORKDIR.value}: its data must be images or points, they are {kind}")
    known = [name for name in METHODS if len(run.model.shape) == 3 or name != "data_adversarial"]  # windows of images
    methods = shared.chosen("methods", _METHODS.value or ([] if paths else ["all"]), known)
    folder = shared.results_folder(_OUT)
    groups = {"teacher": of_teacher(config, run, steps, folder, _UPDATES.value)} if _TEACHER.value else {}
    singly = lambda candidates: ([candidate] for candidate in candidates)
    groups |= {f"{path.parent.name}_{path.name}": singly(of_student(path, steps)) for path in paths}
    groups |= {name: singly(METHODS[name](config, run, _SECONDS.value, steps)) for name in methods}
    distance = lambda row: row["metrics"]["energy distance"][0]
    rows: list[dict[str, Any]] = []
    for name, group in groups.items():
        print(f"{name} …", flush=True)
        measure = functools.partial(measured, name, run=run, scorer=scorer, num=_NUM.value, seeds=_SEEDS.value)
        own = [min(map(measure, candidates), key=distance) for candidates in group]
        write_atomic(folder / f"{name}.json", json.dumps({"rows": own}, indent=1, ensure_ascii=False) + "\n")
        jax.clear_caches()  # of the programs of this method
        rows += own
    fields = [field for field in dict.fromkeys(field for row in rows for field in row) if field != "metrics"]
    names = list(rows[0]["metrics"])
    cell = lambda mean, error: f"{mean:.4f} ± {error:.4f}"
    rows.sort(key=lambda row: (row["steps"], distance(row)))
    lines = [[*map(row.get, fields), *(cell(*row["metrics"][name]) for name in names)] for row in rows]
    print(tables_as_text([Table([*fields, *names], lines, scorer.caption)]))
    return folder


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
