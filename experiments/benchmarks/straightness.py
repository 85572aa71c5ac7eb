"""How straight the paths of trained flows are, and how far their samples at few steps are from those at many.

    python -m experiments.benchmarks.straightness --workdir=runs/coupled_2d,runs/flow_2d

For the paths of the probability-flow ODE from the same noise, at 64 midpoint steps: their straightness, the mean of
``int |dx/dt - (x_1 - x_0)|^2 dt / D`` over paths, and the RMS distance of their ends from those of Euler with 2, 4 and
8 steps. The schedule must be a rectified flow, whose time is the clock of a straight line.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.cli import flags as shared
from experiments.cli.config import require
from experiments.configs import base
from experiments.models.conditioning import conditions_for
from experiments.models.rules import make_guided
from experiments.models.runs import open_run
from experiments.reporting.report import Table, tables_as_text
from scorekit import couplings, samplers, solvers

_WORKDIRS = flags.DEFINE_list(
    "workdir", None, "Folders of runs of experiments.train with schedule.name=rectified_flow."
)
_PATHS = shared.count("paths", 500, "Paths of each run.")
STEPS, FINE = (2, 4, 8), 64


def row_of(folder: str) -> list:
    """The straightness of a run, and the distances of its few-step samples from its own ODE."""
    config = base.saved(folder)
    require(config.schedule.name == "rectified_flow", "schedule.name", config.schedule.name, "rectified_flow")
    run = open_run(config, Path(folder).expanduser(), any_coupling=True)
    labels, schedule = np.arange(_PATHS.value) % run.dataset.num_classes, run.model.schedule
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


def main(_) -> None:
    header = ["", "straightness", *(f"{n} steps" for n in STEPS)]
    rows = [row_of(folder) for folder in _WORKDIRS.value or ()]
    print(tables_as_text([Table(header, rows, "")]), flush=True)


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    app.run(main)
