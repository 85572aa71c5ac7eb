"""Solvers of the reverse process: one ``init/step`` contract, one ``lax.scan``. ``docs/solvers.md``: which, and when.

=============================  =======  =========  ==========  =====================================================
solver                         order    NFE/step   stochastic  known as
=============================  =======  =========  ==========  =====================================================
``Euler``                      1        1          no          DDIM
``AdamsBashforth``             1-4      1          no          on the velocity; linear multistep for "sigma"
``ExponentialAdamsBashforth``  1-4      1          no          DEIS (eps), the true multistep DPM-Solver++ (x0)
``DPMSolverPP2M``              2        1          no          DPM-Solver++(2M)
``DPMSolverPP3M``              2        1          no          DPM-Solver++(3M) as published
``IPNDM``                      1-4      1          no          Adams-Bashforth with the coefficients of equal steps
``UniPC``                      2-4      1          no          predictor 1-3 and corrector
``Heun``, ``Midpoint``         2        2          no          EDM; the midpoint rule
``DPMSolver``                  1-3      order      no          DPM-Solver-1, 2, 3 and DPM-Solver++(1S, 2S, 3S)
``RK4``                        4        4          no          Runge-Kutta
``Ancestral``                  1        1          yes         DDPM, SMLD, DDIM(eta)
``EulerMaruyama``              1        1          yes         the plain reverse SDE, in t or log-SNR
``ReverseDiffusion``           1        1          yes         the predictor of score SDEs
``DPMSolverPP2MSDE``           2        1          yes         SDE-DPM-Solver++(2M)
``DPMSolverPP3MSDE``           2        1          yes         DPM-Solver++(3M) SDE as published
``SASolver``                   1-2      1          yes         stochastic Adams, 1-4 steps
``StochasticHeun``             1        2          yes         EDM with churn
``PredictorCorrector``         1        2 or more  yes         Langevin correctors
``AnnealedLangevin``           -        steps      yes         NCSN
``Renoise``                    -        1          yes         multistep sampling of consistency models
=============================  =======  =========  ==========  =====================================================

The order of a stochastic solver is its weak order on Gaussian data.
"""

from scorekit.solvers import grids
from scorekit.solvers.consistency import MultistepConsistency
from scorekit.solvers.corrected import AnnealedLangevin, PredictorCorrector, StochasticHeun, edm_stochastic
from scorekit.solvers.dps import DPS
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
from scorekit.solvers.precomputed import PrecomputedSolver, precomputed
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
    "DPS",
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
    "MultistepConsistency",
    "PrecomputedSolver",
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
    "precomputed",
]
