"""Solvers and time grids."""

import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Count, Data, Number, call
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
    "solvers.AdamsBashforth": call(taken(solvers.AdamsBashforth), order=_ORDER, coordinate=Choice("flow")),
    "solvers.AnnealedLangevin": call(taken(solvers.AnnealedLangevin), steps=Count(2), step_size=Number(0.1, low=0.0)),
    "solvers.Ancestral": call(taken(solvers.Ancestral), **_SHARE),
    "solvers.DPMSolver": call(taken(solvers.DPMSolver), order=_ORDER, prediction=Choice("x0")),
    "solvers.DPMSolverPP2MSDE": call(taken(solvers.DPMSolverPP2MSDE), **_ETA),
    "solvers.DPMSolverPP3MSDE": call(taken(solvers.DPMSolverPP3MSDE), **_ETA),
    "solvers.DPS": call(
        taken(solvers.DPS), operator=lambda x: x, observation=X, inner=solvers.Euler(), step_size=Number(0.5, low=-0.1)
    ),
    "solvers.EulerMaruyama": call(taken(solvers.EulerMaruyama), clock=Choice("t")),
    "solvers.ExponentialAdamsBashforth": call(
        taken(solvers.ExponentialAdamsBashforth), order=_ORDER, prediction=Choice("x0"), variable=Choice("t")
    ),
    "solvers.Heun": call(taken(solvers.Heun), coordinate=Choice("flow")),
    "solvers.IPNDM": call(taken(solvers.IPNDM), order=_ORDER),
    "solvers.Midpoint": call(taken(solvers.Midpoint), coordinate=Choice("flow")),
    "solvers.MultistepConsistency": call(taken(solvers.MultistepConsistency), t_min=Number(0.1, low=-0.1, high=1.0)),
    "solvers.PredictorCorrector": call(
        taken(solvers.PredictorCorrector),
        predictor=solvers.Euler(),
        corrector_steps=Count(1),
        snr=Number(0.1, low=0.0),
        norms=Choice("expected"),
    ),
    "solvers.RK4": call(taken(solvers.RK4), coordinate=Choice("flow")),
    "solvers.SASolver": call(taken(solvers.SASolver), steps=_ORDER, **_ETA),
    "solvers.StochasticHeun": call(
        taken(solvers.StochasticHeun),
        gamma=Number(0.1, low=-0.1),
        noise_min=Number(0.1, low=-0.1),
        noise_max=Number(1.0, {"inf": "no upper bound"}, low=-0.1),
        noise=Number(1.0, low=0.0),
        coordinate=Choice("sigma"),
    ),
    "solvers.UniPC": call(taken(solvers.UniPC), predictor=_ORDER, coordinate=Choice("flow")),
    "solvers.ddim": call(taken(solvers.ddim), **_SHARE),
    "solvers.deis": call(taken(solvers.deis), order=_ORDER),
    "solvers.edm_stochastic": call(
        taken(solvers.edm_stochastic),
        num_steps=Count(3),
        churn=Number(1.0, low=-1.0),
        noise_min=Number(0.1, low=-0.1),
        noise_max=Number(1.0, {"inf": "no upper bound"}, low=-0.1),
        noise=Number(1.0, low=0.0),
    ),
    "solvers.grids.check_grid": call(
        grids.check_grid, ts=Data(TS, {"integer": "only [1, 0] could be meant, and ones do not decrease"})
    ),
    "solvers.grids.karras": call(grids.karras, schedule=SCHEDULE, n=Count(3), rho=Number(7.0, low=0.0), **_ENDS),
    "solvers.grids.matching": call(
        grids.matching,
        schedule=SCHEDULE,
        other=SCHEDULE,
        ts=Data(TS, {"integer": "integers count as floats"}),
    ),
    "solvers.grids.quadratic": call(grids.quadratic, n=Count(3), power=Number(2.0, low=0.0), **_ENDS),
    "solvers.grids.uniform": call(grids.uniform, n=Count(3), **_ENDS),
    "solvers.grids.uniform_log_snr": call(grids.uniform_log_snr, schedule=SCHEDULE, n=Count(3), **_ENDS),
    "solvers.grids.vp_quadratic": call(
        grids.vp_quadratic, schedule=SCHEDULE, n=Count(3), power=Number(2.0, low=0.0), **_ENDS
    ),
    "solvers.linear_multistep": call(taken(solvers.linear_multistep), order=_ORDER),
    "solvers.noise_levels": call(
        solvers.noise_levels,
        schedule=SCHEDULE,
        times=Data(TS, {"shape": "any shape", "integer": "integers count as floats", "empty": "any shape"}),
    ),
    "solvers.noise_levels/max_past": call(
        solvers.noise_levels, schedule=SCHEDULE, times=TS, max_past=Count(2, least=0)
    ),
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
