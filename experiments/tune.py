"""Tunes the sampler of a trained model: the time grid, and with --numbers the solver's numbers too.

    python -m experiments.tune --workdir=runs/digits --config.sampling.steps=8 --config.sampling.solver.name=unipc
    python -m experiments.tune --workdir=runs/digits --config.sampling.steps=6 --numbers --out=runs/digits/six.json

Solver, steps and guidance are those of the config; the configured grid gives the first and last
time and is one of the starts. Writes ``workdir/grid.json``, which any program takes as
``--config.sampling.grid.name=file --config.sampling.grid.path=…`` with the same solver, steps and schedule.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.models import choices as build, model, rules
from experiments.cli import command_line, progress
from experiments.models.runs import open_experiment, saved_config
from experiments.cli.config import Config, require
from experiments.reporting.report import show
from scorekit import tuning
from scorekit.solvers import grids
from scorekit.solvers.precomputed import PrecomputedSolver
from scorekit.typing import Array, Schedule

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_NUMBERS = flags.DEFINE_bool("numbers", False, "Also tune the numbers of the solver's steps; wants more draws.")
_UPDATES = flags.DEFINE_integer("updates", 200, "Updates per starting grid.", lower_bound=1)
_STARTS = flags.DEFINE_integer("starts", 2, "How many of the starting grids are tuned, the best.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 50, "Samples in a batch, the classes in turn.", lower_bound=1)
_DRAWS = flags.DEFINE_integer("draws", 500, "Samples to tune on; half as many to choose by.", lower_bound=1)
_POWER = flags.DEFINE_float("power", 1.0, "Of the mean distance: 2 RMSE, 1 mean, 0 geometric mean.", lower_bound=0.0)
_FINE = flags.DEFINE_integer("fine_steps", 128, "Steps of the reference.", lower_bound=8)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the noise.")
_OUT = flags.DEFINE_string("out", None, "The file to write; workdir/grid.json by default.")


def starting_grids(schedule: Schedule, configured: Array) -> dict[str, Array]:
    """The configured grid and the usual ones, between its ends; those that do not fit there are left out."""
    n, ends = len(configured) - 1, [configured[0], configured[-1]]
    found = {"configured": configured}
    if not np.allclose(configured, grids.uniform(n, *ends)):
        found["uniform"] = grids.uniform(n, *ends)
    if n > 1:
        found["log-SNR"] = build.GRIDS["log_snr"](schedule, n)
        found["Karras"] = build.GRIDS["karras"](schedule, n)
    for power in (2, 3):
        found[f"VP t^{power}"] = build.GRIDS["vp_quadratic"](schedule, n, *ends, power=power)
    found = {name: ts.at[0].set(ends[0]).at[-1].set(ends[1]) for name, ts in found.items()}
    return {name: ts for name, ts in found.items() if np.all(np.diff(ts) < 0)}


def show_trials(trials: Mapping[str, tuning.Trial], tuned: int) -> None:
    """A line for every starting grid, the best first."""
    order = sorted(trials.items(), key=lambda item: float(item[1].before))
    print(f"{'starting grid':16}{'error before':>14}{'after':>14}")
    for i, (name, trial) in enumerate(order):
        after = show(float(trial.after)) if i < tuned else "not tuned"
        print(f"{name:16}{show(float(trial.before)):>14}{after:>14}")


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    out = Path(_OUT.value).expanduser().absolute() if _OUT.value else workdir / "grid.json"
    scale = config.sampling.guidance_scale
    run = open_experiment(config, workdir, _STEP.value, (scale,))
    schedule = run.model.schedule
    solver, ts = build.build_sampler(config, schedule)
    name = config.sampling.solver.name
    require(not solver.stochastic, "sampling.solver.name", name, "deterministic: tuning follows the reference's paths")
    if isinstance(solver, PrecomputedSolver):  # the grid is a file's that has tuned numbers: they are tuned anew
        solver = solver.base
    labels = np.resize(np.arange(run.dataset.num_classes, dtype=np.int32), _BATCH.value)
    given = jax.tree.map(jnp.asarray, model.conditions_for(run.model, run.dataset, labels))
    gamma = None if rules.is_plain(config, scale) else jnp.float32(scale)
    denoiser = model.make_guided(config, run.model)(run.params, given, gamma, run.extras)
    like = jax.ShapeDtypeStruct((_BATCH.value, *run.model.shape), jnp.float32)
    batches = -(-_DRAWS.value // _BATCH.value)
    kept = -(-batches // 2)
    print(f"tuning {config.sampling.steps} steps of {solver} at step {run.step:,}, γ = {scale:g} …", flush=True)
    with progress.Progress(batches + kept, batch_size=_BATCH.value, label="reference") as bar:
        both = tuning.fine_pairs(
            jax.random.key(_SEED.value),
            denoiser,
            schedule,
            like,
            batches + kept,
            t_max=ts[0],
            t_min=ts[-1],
            steps=_FINE.value,
            progress=lambda done, total: bar.update(done),
        )
    pairs, held_out = (jax.tree.map(lambda x, s=s: x[s], both) for s in (slice(batches), slice(batches, None)))
    starts = starting_grids(schedule, ts)
    tuned_starts = min(_STARTS.value, len(starts))
    with progress.Progress(tuned_starts * _UPDATES.value, batch_size=_BATCH.value, label="tuning") as bar:
        tuned = tuning.tune(
            denoiser,
            schedule,
            solver,
            starts,
            pairs,
            held_out,
            coefficients=_NUMBERS.value,
            starts=tuned_starts,
            power=_POWER.value,
            steps=_UPDATES.value,
            progress=lambda done, total, error: bar.update(done, error),
        )
    tuning.save_grid(out, tuned, schedule)
    show_trials(tuned.trials, tuned_starts)
    print(f"use it with --config.sampling.grid.name=file --config.sampling.grid.path={out}")
    print(progress.final_line(str(out), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: saved_config(_WORKDIR.value))
