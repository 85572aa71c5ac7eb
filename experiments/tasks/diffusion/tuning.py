"""Tuning of a sampler: its initial grids, the reference paths of a model, and the best grid of a few updates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, require
from experiments.cli.progress import Progress
from experiments.models.conditioning import conditions_for
from experiments.models.samples import check_samples
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.build import build_rules, build_sampler, sampler_of
from experiments.tasks.task import Run
from scorekit import tuning
from scorekit.solvers import PrecomputedSolver, grids
from scorekit.typing import Array, Denoiser, Schedule


class Options(NamedTuple):
    """The flags of :mod:`experiments.tune` by their names."""

    coefficients: bool
    updates: int
    starts: int
    batch_size: int
    draws: int
    power: float
    fine_steps: int
    seed: int


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


def references(
    config: Config, run: Run, ts: Array, size: int, draws: int, fine_steps: int, seed: int = 0
) -> tuple[Denoiser, tuning.Pairs, tuning.Pairs]:
    """The guided denoiser of a run, and batches of noise with the ends of its paths: to tune on, and half as many to
    choose by.
    """
    labels = np.resize(np.arange(run.dataset.num_classes, dtype=np.int32), size)
    given = jax.tree.map(jnp.asarray, conditions_for(run.model, run.dataset, labels))
    scale = build_rules(config).traced(config.sampling.guidance_scale)
    denoiser = guidance.make_guided(build_rules(config), run.model)(run.params, given, scale, run.extras)
    like = jax.ShapeDtypeStruct((size, *run.model.shape), jnp.float32)
    batches = -(-draws // size)
    total = batches + -(-batches // 2)
    with Progress(total, batch_size=size, label="reference") as bar:
        how = {"t_max": ts[0], "t_min": ts[-1], "steps": fine_steps, "progress": lambda done, total: bar.update(done)}
        both = tuning.fine_pairs(jax.random.key(seed), denoiser, run.model.schedule, like, total, **how)
    check_samples(jax.tree.leaves(both.end), sampler_of(config), "batches of the reference")
    pairs, held_out = (jax.tree.map(lambda x, s=s: x[s], both) for s in (slice(batches), slice(batches, None)))
    return denoiser, pairs, held_out


def tune(config: Config, run: Run, options: Options) -> tuple[tuning.Tuned, int]:
    """The sampler of a config, tuned on paths of its model, and the number of initial grids that were tuned."""
    scale, schedule, size = config.sampling.guidance_scale, run.model.schedule, options.batch_size
    solver, ts = build_sampler(config, schedule)
    name = config.sampling.solver.name
    require(not solver.stochastic, "sampling.solver.name", name, "deterministic: tuning follows the reference's paths")
    if isinstance(solver, PrecomputedSolver):  # the file of the grid has tuned coefficients: they are tuned anew
        solver = solver.base
    print(f"tuning {config.sampling.steps} steps of {solver} at step {run.step:,}, γ = {scale:g} …", flush=True)
    denoiser, pairs, held_out = references(config, run, ts, size, options.draws, options.fine_steps, options.seed)
    starts = initial_grids(schedule, ts)
    count = min(options.starts, len(starts))
    with Progress(count * options.updates, batch_size=size, label="tuning") as bar:
        how = {"coefficients": options.coefficients, "power": options.power, "steps": options.updates}
        shown = lambda done, total, error: bar.update(done, error)
        given = (denoiser, schedule, solver, starts, pairs, held_out)
        tuned = tuning.tune(*given, **how, starts=count, progress=shown)
    return tuned, count
