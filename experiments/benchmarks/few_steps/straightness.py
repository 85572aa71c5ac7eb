"""Straightness of the paths of trained flows, and the distance of their samples at few steps from those at many.

For the paths of the probability-flow ODE from the same noise, at 64 midpoint steps: their straightness, the mean of
``int |dx/dt - (x_1 - x_0)|^2 dt / D`` over paths, and the RMS distance of their ends from the ends of Euler with 2, 4
and 8 steps. The schedule must be a rectified flow, whose time is the clock of a straight line.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli.config import require
from experiments.configs import base
from experiments.models.conditioning import conditions_for
from experiments.models.guidance import make_guided
from experiments.models.runs import open_run
from experiments.reporting.report import Table, tables_as_text
from scorekit import samplers, solvers
from scorekit.interpolants import couplings

STEPS, FINE = (2, 4, 8), 64


def row_of(folder: str, paths: int) -> list:
    """The straightness of a run, and the distances of its few-step samples from its own ODE."""
    config = base.saved(folder)
    require(config.schedule.name == "rectified_flow", "schedule.name", config.schedule.name, "rectified_flow")
    run = open_run(config, Path(folder).expanduser(), any_coupling=True)
    labels, schedule = np.arange(paths) % run.dataset.num_classes, run.model.schedule
    noise = jax.random.normal(jax.random.key(0), (len(labels), *run.model.shape))
    given, guided = conditions_for(run.model, run.dataset, labels), make_guided(config, run.model)

    @jax.jit
    def ends(params, x):
        denoiser, grid = guided(params, given, config.sampling.guidance_scale, run.extras), solvers.grids.uniform
        draw = lambda solver, n: samplers.sample(None, denoiser, schedule, solver, x, grid(n), trajectory=True)
        last, states = draw(solvers.Midpoint(), FINE)
        straight = couplings.straightness(jnp.concatenate([x[None], states]), grid(FINE)).mean()
        return straight, [jnp.sqrt(jnp.mean((draw(solvers.Euler(), n)[0] - last) ** 2)) for n in STEPS]

    straight, errors = ends(run.params, noise)
    return [folder, float(straight), *map(float, errors)]


def run(options: flags.FlagValues) -> None:
    """Prints a row for each run."""
    rows = [row_of(folder, options.num) for folder in options.workdir.split(",")]
    print(tables_as_text([Table(["", "straightness", *(f"{n} steps" for n in STEPS)], rows, "")]), flush=True)
