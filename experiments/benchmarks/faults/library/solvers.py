"""Solvers and time grids."""

import numpy as np

from experiments.benchmarks.faults.calls import Call, Data, call
from scorekit import samplers, schedules, solvers
from scorekit.solvers import grids
from scorekit.typing import Prediction

SCHEDULE = schedules.linear_vp()
TS = np.array([1.0, 0.5, 0.1], np.float32)
X = np.ones((2, 3), np.float32)


def denoiser(x, t):
    """Runs on anything."""
    return Prediction(0.5 * x, x)


def taken(make):
    """Builds a solver and takes no step: its constructor validates."""
    return lambda **numbers: make(**numbers).order


_ENDS = {"t_max": 0.9, "t_min": 0.1}

ROWS: dict[str, Call] = {
    "solvers.DPS": call(taken(solvers.DPS), operator=lambda x: x, observation=X, inner=solvers.Euler(), step_size=0.5),
    "solvers.grids.check_grid": call(
        grids.check_grid, ts=Data(TS, {"integer": "only [1, 0] could be meant, and ones do not decrease"})
    ),
    "solvers.grids.karras": call(grids.karras, schedule=SCHEDULE, n=3, rho=7.0, **_ENDS),
    "solvers.grids.matching": call(
        grids.matching,
        schedule=SCHEDULE,
        other=SCHEDULE,
        ts=Data(TS, {"integer": "integers count as floats"}),
    ),
    "solvers.grids.uniform_log_snr": call(grids.uniform_log_snr, schedule=SCHEDULE, n=3, **_ENDS),
    "solvers.grids.vp_quadratic": call(grids.vp_quadratic, schedule=SCHEDULE, n=3, power=2.0, **_ENDS),
    "solvers.noise_levels": call(
        solvers.noise_levels,
        schedule=SCHEDULE,
        times=Data(TS, {"shape": "any shape", "integer": "integers count as floats", "empty": "any shape"}),
    ),
    "solvers.noise_levels/max_past": call(solvers.noise_levels, schedule=SCHEDULE, times=TS, max_past=2),
    "solvers.precomputed": call(
        lambda ts: samplers.sample(None, denoiser, SCHEDULE, solvers.precomputed(solvers.Euler(), SCHEDULE, ts), X, TS),
        ts=Data(TS, {"integer": "integers count as floats"}),
    ),
}

EXEMPT = {
    "solvers.LinearSolver": "a base class",
    "solvers.SolverBase": "a base class",
    "solvers.NoiseLevels": "schedule values that rows are made of",
    "solvers.Row": "the row of a LinearSolver",
    "solvers.PrecomputedSolver": "built by precomputed",
}
