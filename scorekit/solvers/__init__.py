"""Solvers of the reverse process: one ``init/step`` contract, one ``lax.scan``.

==================  =====  =========  ==========  ====================================================
solver              order  NFE/step   stochastic  when
==================  =====  =========  ==========  ====================================================
``Euler``           1      1          no          the baseline; the same as DDIM
``Heun``            2      2          no          few assumptions, smooth
``DPMSolverPP2M``   2      1          no          the default: most accurate per evaluation here
``Ancestral``       1      1          yes         DDPM, and DDIM with eta > 0
``EulerMaruyama``   1      1          yes         the plain reverse SDE
==================  =====  =========  ==========  ====================================================
"""

from scorekit.solvers import grids
from scorekit.solvers.corrected import AnnealedLangevin, PredictorCorrector, StochasticHeun, edm_stochastic
from scorekit.solvers.multistep import (
    IPNDM,
    AdamsBashforth,
    DPMSolverPP2M,
    DPMSolverPP3M,
    ExponentialAdamsBashforth,
    deis,
    linear_multistep,
)
from scorekit.solvers.ode import RK4, DPMSolver, Euler, Heun, Midpoint
from scorekit.solvers.sampling import nfe, sample
from scorekit.solvers.sde import (
    Ancestral,
    DPMSolverPP2MSDE,
    DPMSolverPP3MSDE,
    EulerMaruyama,
    ReverseDiffusion,
    SASolver,
    ddim,
)
from scorekit.solvers.unipc import UniPC

__all__ = [
    "IPNDM",
    "RK4",
    "AdamsBashforth",
    "Ancestral",
    "AnnealedLangevin",
    "DPMSolver",
    "DPMSolverPP2M",
    "DPMSolverPP2MSDE",
    "DPMSolverPP3M",
    "DPMSolverPP3MSDE",
    "Euler",
    "EulerMaruyama",
    "ExponentialAdamsBashforth",
    "Heun",
    "Midpoint",
    "PredictorCorrector",
    "ReverseDiffusion",
    "SASolver",
    "StochasticHeun",
    "UniPC",
    "ddim",
    "deis",
    "edm_stochastic",
    "grids",
    "linear_multistep",
    "nfe",
    "sample",
]
