"""Tunes the sampler of a trained model: the time grid, and with --coefficients the coefficients of the solver's steps.

    python -m experiments.tune --workdir=runs/digits --config.sampling.steps=8 --config.sampling.solver.name=unipc
    python -m experiments.tune --workdir=runs/digits --config.sampling.steps=6 --coefficients --out=runs/digits/six.json

Solver, steps and guidance come from the config; the configured grid gives the first and last time and is one of the
initial grids. Writes ``workdir/grid.json``, which any program takes as
``--config.sampling.grid.name=file --config.sampling.grid.path=…`` with the same solver, steps and schedule.
"""

import math
from collections.abc import Mapping

from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.cli.progress import Progress
from experiments.reporting.tables import show
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_sampler
from experiments.tasks.diffusion.runs import open_score
from experiments.tasks.diffusion.tuning import initial_grids, references
from scorekit import tuning
from scorekit.solvers import PrecomputedSolver

_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed()
_COEFFICIENTS = flags.DEFINE_bool("coefficients", False, "Also tune the solver's coefficients; needs more draws.")
_UPDATES = shared.count("updates", 200, "Updates per initial grid.")
_STARTS = shared.count("starts", 2, "How many of the initial grids are tuned, the best.")
_BATCH = shared.count("batch_size", 50, "Samples in a batch, the classes in turn.")
_DRAWS = shared.count("draws", 500, "Samples to tune on; half as many to choose by.")
_POWER = flags.DEFINE_float("power", 1.0, "Power of the minimised mean distance: 2 RMSE, 1 mean, 0 geometric mean.")
_FINE = shared.count("fine_steps", 128, "Steps of the reference.", 8)
shared.distributed()
_OUT = shared.out("The file to write; workdir/grid.json by default.")


def show_trials(trials: Mapping[str, tuning.Trial], tuned: int) -> None:
    """A line for every initial grid, the best first."""
    order = sorted(trials.items(), key=lambda item: float(item[1].before))
    print(f"{'initial grid':16}{'error before':>14}{'after':>14}")
    for i, (name, trial) in enumerate(order):
        after = show(float(trial.after)) if i < tuned else "not tuned"
        print(f"{name:16}{show(float(trial.before)):>14}{after:>14}")


def main(config: Config) -> str:
    workdir, scale = shared.path(_WORKDIR, buckets=True), config.sampling.guidance_scale
    if not 0 <= _POWER.value < math.inf:
        raise ConfigError(f"--power={_POWER.value}: must be finite and >= 0")
    name, size = config.sampling.solver.name, _BATCH.value
    out = shared.results(_OUT, workdir / "grid.json", "")
    run = open_score(config, workdir, _STEP.value, (scale,))
    solver, ts = build_sampler(config, run.model.schedule)
    require(not solver.stochastic, "sampling.solver.name", name, "deterministic: tuning follows the reference's paths")
    if isinstance(solver, PrecomputedSolver):  # the file of the grid has tuned coefficients: they are tuned anew
        solver = solver.base
    print(f"tuning {config.sampling.steps} steps of {solver} at step {run.step:,}, γ = {scale:g} …", flush=True)
    denoiser, *pairs = references(config, run, ts, size, _DRAWS.value, _FINE.value, _SEED.value)
    starts = initial_grids(run.model.schedule, ts)
    count = min(_STARTS.value, len(starts))
    with Progress(count * _UPDATES.value, batch_size=size, label="tuning") as bar:
        how = {"coefficients": _COEFFICIENTS.value, "power": _POWER.value, "steps": _UPDATES.value, "num_starts": count}
        shown = lambda done, total, error: bar.update(done, error)
        tuned = tuning.tune(denoiser, run.model.schedule, solver, starts, *pairs, **how, progress=shown)
    tuning.save_grid(out, tuned, run.model.schedule)
    show_trials(tuned.trials, count)
    print(f"use it with --config.sampling.grid.name=file --config.sampling.grid.path={out}")
    return str(out)


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
