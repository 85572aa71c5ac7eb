"""The solvers of the library by the names that they have in tables."""

from typing import Any

from scorekit import solvers

DETERMINISTIC: dict[str, Any] = {
    "DDIM": solvers.Euler(),
    "Heun flow": solvers.Heun(),
    "Heun sigma": solvers.Heun(coordinate="sigma"),
    "midpoint flow": solvers.Midpoint(),
    "RK4 flow": solvers.RK4(),
    "DPM++2S": solvers.DPMSolver(order=2),
    "DPM++3S": solvers.DPMSolver(order=3),
    "DPM++2M": solvers.DPMSolverPP2M(),
    "DPM++3M": solvers.DPMSolverPP3M(),
    "EAB3 x0": solvers.ExponentialAdamsBashforth(order=3, prediction="x0"),
    "EAB2 eps": solvers.ExponentialAdamsBashforth(order=2),
    "EAB3 eps": solvers.ExponentialAdamsBashforth(order=3),
    "EAB4 eps": solvers.ExponentialAdamsBashforth(order=4),
    "tAB-DEIS3": solvers.deis(3),
    "AB2 flow": solvers.AdamsBashforth(order=2),
    "AB3 flow": solvers.AdamsBashforth(order=3),
    "AB4 flow": solvers.AdamsBashforth(order=4),
    "AB3 angle": solvers.AdamsBashforth(order=3, coordinate="angle"),
    "LMS4": solvers.linear_multistep(4),
    "iPNDM4": solvers.IPNDM(),
    "UniPC1": solvers.UniPC(predictor=1),
    "UniPC2": solvers.UniPC(predictor=2),
    "UniPC3": solvers.UniPC(predictor=3),
    "UniPC1 flow": solvers.UniPC(predictor=1, coordinate="flow"),
    "UniPC3 flow": solvers.UniPC(predictor=3, coordinate="flow"),
    "UniPC2 flow": solvers.UniPC(predictor=2, coordinate="flow"),
}
STOCHASTIC: dict[str, Any] = {
    "DDPM": lambda n: solvers.Ancestral(),
    "Euler-Maruyama": lambda n: solvers.EulerMaruyama(clock="log_snr"),
    "reverse diffusion": lambda n: solvers.ReverseDiffusion(),
    "DPM++2M SDE": lambda n: solvers.DPMSolverPP2MSDE(),
    "DPM++3M SDE": lambda n: solvers.DPMSolverPP3MSDE(),
    "SA3": lambda n: solvers.SASolver(steps=3),
    "EDM churn": solvers.edm_stochastic,
    "AB3 flow (ODE)": lambda n: solvers.AdamsBashforth(),
}
"""Solvers for a number of steps; the last one is deterministic, for comparison."""
