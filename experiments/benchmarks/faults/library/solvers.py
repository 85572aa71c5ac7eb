"""Solvers and time grids."""

import numpy as np

from experiments.benchmarks.faults.calls import Call, Count, Data, Number, call
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


_ETA = {"eta": Number(0.5, low=-0.1)}
_SHARE = {"eta": Number(0.5, low=-0.1, high=1.1)}
_ORDER = Count(2, least=1)
_ENDS = {"t_max": Number(0.9, low=-0.1, high=1.5), "t_min": Number(0.1, low=-0.1, high=0.95)}

ROWS: dict[str, Call] = {
    "solvers.AdamsBashforth": call(taken(solvers.AdamsBashforth), order=_ORDER, coordinate="flow"),
    "solvers.Ancestral": call(taken(solvers.Ancestral), **_SHARE),
    "solvers.DPMSolver": call(taken(solvers.DPMSolver), order=_ORDER, prediction="x0"),
    "solvers.DPMSolverPP2MSDE": call(taken(solvers.DPMSolverPP2MSDE), **_ETA),
    "solvers.DPMSolverPP3MSDE": call(taken(solvers.DPMSolverPP3MSDE), **_ETA),
    "solvers.DPS": call(taken(solvers.DPS), operator=lambda x: x, observation=X, inner=solvers.Euler(), step_size=0.5),
    "solvers.ExponentialAdamsBashforth": call(
        taken(solvers.ExponentialAdamsBashforth), order=_ORDER, prediction="x0", variable="t"
    ),
    "solvers.IPNDM": call(taken(solvers.IPNDM), order=_ORDER),
    "solvers.SASolver": call(taken(solvers.SASolver), steps=_ORDER, **_ETA),
    "solvers.UniPC": call(taken(solvers.UniPC), predictor=_ORDER, coordinate="flow"),
    "solvers.ddim": call(taken(solvers.ddim), **_SHARE),
    "solvers.deis": call(taken(solvers.deis), order=_ORDER),
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
    "solvers.grids.quadratic": call(grids.quadratic, n=3, power=2.0, **_ENDS),
    "solvers.grids.uniform": call(grids.uniform, n=3, **_ENDS),
    "solvers.grids.uniform_log_snr": call(grids.uniform_log_snr, schedule=SCHEDULE, n=3, **_ENDS),
    "solvers.grids.vp_quadratic": call(grids.vp_quadratic, schedule=SCHEDULE, n=3, power=2.0, **_ENDS),
    "solvers.linear_multistep": call(taken(solvers.linear_multistep), order=_ORDER),
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
    "solvers.DPMSolverPP2M": "takes no values",
    "solvers.DPMSolverPP3M": "takes no values",
    "solvers.Euler": "takes no values",
    "solvers.ReverseDiffusion": "takes no values",
    "solvers.LinearSolver": "a base class",
    "solvers.SolverBase": "a base class",
    "solvers.NoiseLevels": "schedule values that rows are made of",
    "solvers.Row": "the row of a LinearSolver",
    "solvers.PrecomputedSolver": "built by precomputed",
}
