"""Tunes the sampler of a trained model: the time grid, and with --coefficients those of the solver's steps too.

    python -m experiments.tune --workdir=runs/digits --config.sampling.steps=8 --config.sampling.solver.name=unipc
    python -m experiments.tune --workdir=runs/digits --config.sampling.steps=6 --coefficients --out=runs/digits/six.json

Solver, steps and guidance are those of the config; the configured grid gives the first and last
time and is one of the initial grids. Writes ``workdir/grid.json``, which any program takes as
``--config.sampling.grid.name=file --config.sampling.grid.path=…`` with the same solver, steps and schedule.
"""

import math
import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.configs import base
from experiments.models import guidance
from experiments.models.conditioning import conditions_for
from experiments.models.guidance import make_guided
from experiments.models.runs import open_run
from experiments.models.samples import check_samples, sampler_of
from experiments.models.sampling import build_sampler
from experiments.reporting.report import show
from scorekit import tuning
from scorekit.solvers import PrecomputedSolver, grids
from scorekit.typing import Array, Schedule

_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed()
_COEFFICIENTS = flags.DEFINE_bool("coefficients", False, "Also tune the solver's coefficients; needs more draws.")
_UPDATES = shared.count("updates", 200, "Updates per initial grid.")
_STARTS = shared.count("starts", 2, "How many of the initial grids are tuned, the best.")
_BATCH = shared.count("batch_size", 50, "Samples in a batch, the classes in turn.")
_DRAWS = shared.count("draws", 500, "Samples to tune on; half as many to choose by.")
_POWER = flags.DEFINE_float("power", 1.0, "Of the mean distance: 2 RMSE, 1 mean, 0 geometric mean.")
_FINE = shared.count("fine_steps", 128, "Steps of the reference.", 8)
shared.distributed()
_OUT = shared.out("The file to write; workdir/grid.json by default.")


def initial_grids(schedule: Schedule, configured: Array) -> dict[str, Array]:
    """The configured grid and the usual ones between its ends, as far as they fit there."""
    n, ends = len(configured) - 1, [configured[0], configured[-1]]
    found = {"configured": configured}
    if not np.allclose(configured, grids.uniform(n, *ends)):
        found["uniform"] = grids.uniform(n, *ends)
    if n > 1:
        found["log-SNR"] = grids.uniform_log_snr(schedule, n)
        found["Karras"] = grids.karras(schedule, n)
    for power in (2, 3):
        found[f"VP t^{power}"] = grids.vp_quadratic(schedule, n, *ends, power=power)
    found = {name: ts.at[0].set(ends[0]).at[-1].set(ends[1]) for name, ts in found.items()}
    return {name: ts for name, ts in found.items() if np.all(np.diff(ts) < 0)}


def show_trials(trials: Mapping[str, tuning.Trial], tuned: int) -> None:
    """A line for every initial grid, the best first."""
    order = sorted(trials.items(), key=lambda item: float(item[1].before))
    print(f"{'initial grid':16}{'error before':>14}{'after':>14}")
    for i, (name, trial) in enumerate(order):
        after = show(float(trial.after)) if i < tuned else "not tuned"
        print(f"{name:16}{show(float(trial.before)):>14}{after:>14}")


def main(config: Config) -> None:
    start = time.monotonic()
    workdir, scale = shared.path(_WORKDIR, buckets=True), config.sampling.guidance_scale
    if not 0 <= _POWER.value < math.inf:
        raise ConfigError(f"--power={_POWER.value}: must be finite and >= 0")
    out = shared.results(_OUT, workdir / "grid.json", "")
    run = open_run(config, workdir, _STEP.value, (scale,))
    schedule = run.model.schedule
    solver, ts = build_sampler(config, schedule)
    name = config.sampling.solver.name
    require(not solver.stochastic, "sampling.solver.name", name, "deterministic: tuning follows the reference's paths")
    if isinstance(solver, PrecomputedSolver):  # the file of the grid has tuned coefficients: they are tuned anew
        solver = solver.base
    labels = np.resize(np.arange(run.dataset.num_classes, dtype=np.int32), _BATCH.value)
    given = jax.tree.map(jnp.asarray, conditions_for(run.model, run.dataset, labels))
    denoiser = make_guided(config, run.model)(run.params, given, guidance.traced_scale(config, scale), run.extras)
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
    check_samples(jax.tree.leaves(both.end), sampler_of(config), "batches of the reference")
    pairs, held_out = (jax.tree.map(lambda x, s=s: x[s], both) for s in (slice(batches), slice(batches, None)))
    starts = initial_grids(schedule, ts)
    tuned_starts = min(_STARTS.value, len(starts))
    with progress.Progress(tuned_starts * _UPDATES.value, batch_size=_BATCH.value, label="tuning") as bar:
        tuned = tuning.tune(
            denoiser,
            schedule,
            solver,
            starts,
            pairs,
            held_out,
            coefficients=_COEFFICIENTS.value,
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
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
