"""The teacher in few steps: the best of the usual solvers and grids, and the best tuned one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.cli.config import Config
from experiments.models.runs import Run
from experiments.models.sampling import at_steps, build_sampler
from experiments.training.sampler_tuning import references
from scorekit import tuning

SOLVERS, GRIDS = ("euler", "dpmpp_2m", "unipc"), ("vp_quadratic", "uniform")
_BATCH, _DRAWS, _FINE = 50, 500, 64  # of the tuning; the last one is the steps of its reference


def with_sampling(config: Config, solver: str, grid: str, steps: int) -> Config:
    """The config with another solver and grid, with the defaults of their fields."""
    config = at_steps(config, steps)
    for section, name in ((config.sampling.solver, solver), (config.sampling.grid, grid)):
        section.update({field: name if field == "name" else None for field in section})
    return config


def untuned(
    config: Config, steps: int, solvers: Sequence[str] = SOLVERS, grids: Sequence[str] = GRIDS
) -> Iterator[tuple[str, Config]]:
    """Every solver on every grid; the first step of all solvers is Euler's."""
    for solver in solvers if steps > 1 else solvers[:1]:
        for grid in grids if steps > 1 else grids[:1]:
            yield f"{solver}, {grid}", with_sampling(config, solver, grid, steps)


def tuned(config: Config, run: Run, steps: int, path: Path, updates: int) -> Iterator[tuple[str, Config]]:
    """Grid and coefficients of a solver, tuned to the teacher's own paths and saved at ``path``."""
    solver_name = "unipc" if steps > 1 else "euler"
    config = with_sampling(config, solver_name, GRIDS[0], steps)
    schedule = run.model.schedule
    solver, ts = build_sampler(config, schedule)
    denoiser, pairs, held_out = references(config, run, ts, _BATCH, _DRAWS, _FINE)
    found = tuning.tune(
        denoiser, schedule, solver, {"configured": ts}, pairs, held_out, coefficients=True, steps=updates
    )
    tuning.save_grid(path, found, schedule)
    config.sampling.grid.update(name="file", path=str(path))
    yield f"{solver_name}, tuned", config
