"""The solvers and the time grids that a config names.

Args:
  t_max: the first time.
  t_min: the last time.
  times: decreasing, one more than there are steps.
"""

from typing import Annotated

import jax.numpy as jnp

from experiments.cli.choices import Choice, Choices
from experiments.cli.fields import FRACTION, POSITIVE, Field, Text
from experiments.models.choices import ENDS
from scorekit import samplers, schedules, solvers, tuning
from scorekit.arguments import Between, Each
from scorekit.flow_maps import FlowMapSolver
from scorekit.solvers.grids import check_grid
from scorekit.typing import Array, Schedule, Solver


def _start(schedule: Schedule, t_max: float) -> Array:
    """``t_max``, or the time at the most noise of linear VP if that is earlier: there every target gives x0."""
    return jnp.minimum(schedule.time_at(schedules.LinearVP().log_snr(1.0)), t_max)


def _vp_quadratic(schedule: Schedule, n: int, t_max=1.0, t_min=0.0, power=3.0) -> Array:
    return solvers.grids.vp_quadratic(schedule, n, _start(schedule, t_max), t_min, power=power)


def _recommended(schedule: Schedule, n: int, stochastic: bool, t_max=1.0, t_min=0.0) -> Array:
    """The grid of :func:`scorekit.samplers.recommended` for this number of steps and kind of solver."""
    _, ts = samplers.recommended(schedule, n, stochastic=stochastic, t_max=_start(schedule, t_max), t_min=t_min)
    return ts


def _saved_grid(n: int, path: str, t_max=1.0, t_min=0.0, rho=7.0, power=2.0) -> tuning.SavedGrid:
    """The times and coefficients in a file that ``experiments.tune`` wrote for this solver and number of steps.

    Args:
      path: path of the file.
      t_max, t_min, rho, power: fields of the grid that the run had before; not used.
    """
    del t_max, t_min, rho, power  # of the run's own grid: the file has its times
    saved = tuning.load_grid(path)
    if saved.steps != n:
        raise ValueError(f"sampling.steps must be {saved.steps}, as tuned in {path}, got {n}")
    return saved


def _given_times(n: int, times: Annotated[tuple, Each(FRACTION, least=2)]) -> Array:
    """These times."""
    if len(times) != n + 1:
        raise ValueError(f"times must be {n + 1} for sampling.steps = {n}, got {len(times)}")
    ts = jnp.asarray(times, jnp.float32)
    check_grid(ts)
    return ts


GRIDS = Choices(
    {
        "file": Choice(_saved_grid, path=Text("a file of experiments.tune"), rho=POSITIVE, power=POSITIVE),
        "karras": Choice(solvers.grids.karras, drop=("to_zero",)),
        "recommended": _recommended,
        "quadratic": solvers.grids.quadratic,
        "log_snr": Choice(solvers.grids.uniform_log_snr, drop=("to_zero",)),
        "times": _given_times,
        "uniform": solvers.grids.uniform,
        "vp_quadratic": Choice(_vp_quadratic, solvers.grids.vp_quadratic, power=Field(3.0, POSITIVE, "")),
    },
    "recommended",
    """The times of the steps; "recommended" is the grid that belongs to the solver, "file" takes the grid at ``path``,
    which experiments.tune wrote for this solver and number of steps, "times" takes ``times``.""",
    ("schedule", "n", "stochastic"),
    bounds=ENDS,
)


def _recommended_solver(schedule: Schedule, n: int, stochastic: bool = False) -> Solver:
    """The solver of :func:`scorekit.samplers.recommended` for this number of steps.

    Args:
      stochastic: one that adds noise.
    """
    return samplers.recommended(schedule, n, stochastic=stochastic)[0]


SOLVERS = Choices(
    {
        "adams_bashforth": solvers.AdamsBashforth,
        "ancestral": solvers.Ancestral,
        "annealed_langevin": solvers.AnnealedLangevin,
        "ddim": solvers.ddim,
        "deis": solvers.deis,
        "dpm_solver": solvers.DPMSolver,
        "dpmpp_2m": solvers.DPMSolverPP2M,
        "dpmpp_2m_sde": solvers.DPMSolverPP2MSDE,
        "dpmpp_3m": solvers.DPMSolverPP3M,
        "dpmpp_3m_sde": solvers.DPMSolverPP3MSDE,
        "edm_stochastic": solvers.edm_stochastic,
        "euler": solvers.Euler,
        "euler_maruyama": solvers.EulerMaruyama,
        "exponential_adams_bashforth": solvers.ExponentialAdamsBashforth,
        "flow_map": Choice(
            lambda gamma=0.0, t_min=0.0: FlowMapSolver(gamma=gamma or None, t_min=t_min),
            "Jumps of a flow map.",
            gamma=Field(0.0, FRACTION, "the part of the noise that is fresh after a jump."),
            t_min=Field(0.0, Between(0, 1, "high"), "the end of the paths that the map was trained for."),
        ),
        "heun": solvers.Heun,
        "ipndm": solvers.IPNDM,
        "linear_multistep": solvers.linear_multistep,
        "midpoint": solvers.Midpoint,
        "multistep_consistency": solvers.MultistepConsistency,
        "predictor_corrector": Choice(solvers.PredictorCorrector, drop=("predictor",)),
        "recommended": _recommended_solver,
        "reverse_diffusion": solvers.ReverseDiffusion,
        "rk4": solvers.RK4,
        "sa_solver": solvers.SASolver,
        "stochastic_heun": solvers.StochasticHeun,
        "unipc": Choice(solvers.UniPC, coordinate="flow"),  # not the default of the library
    },
    "recommended",
    """What takes a step; "recommended" is the solver of :func:`scorekit.samplers.recommended` for ``steps``.""",
    ("schedule", "n"),
)
