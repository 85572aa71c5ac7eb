"""Solvers of the reverse process. ``__all__`` is the table of them: the contract tests run every solver in it.

``docs/solvers.md``: which one, and when. A new solver is a separate file, a line in ``__all__`` and a line here:

=============================  =======  =========  ==========  =====================================================
solver                         order    NFE/step   stochastic  known as
=============================  =======  =========  ==========  =====================================================
``Euler``                      1        1          no          DDIM
``AdamsBashforth``             1-4      1          no          Adams-Bashforth on the velocity
``linear_multistep``           1-4      1          no          LMS: ``AdamsBashforth`` in "sigma"
``ExponentialAdamsBashforth``  1-4      1          no          DEIS (eps), the true multistep DPM-Solver++ (x0)
``deis``                       1-4      1          no          tAB-DEIS
``DPMSolverPP2M``              2        1          no          DPM-Solver++(2M)
``DPMSolverPP3M``              2        1          no          DPM-Solver++(3M) as published
``IPNDM``                      1-4      1          no          Adams-Bashforth with the coefficients of equal steps
``UniPC``                      2-4      1          no          predictor 1-3 and corrector
``Heun``                       2        2          no          EDM
``Midpoint``                   2        2          no          the midpoint rule
``DPMSolver``                  1-3      order      no          DPM-Solver-1, 2, 3 and DPM-Solver++(1S, 2S, 3S)
``RK4``                        4        4          no          Runge-Kutta
``Ancestral``                  1        1          yes         DDPM, SMLD, DDIM(eta)
``ddim``                       1        1          no          ``Euler``, or ``Ancestral`` (yes) for eta > 0
``EulerMaruyama``              1        1          yes         the plain reverse SDE, in t or log-SNR
``ReverseDiffusion``           1        1          yes         the predictor of score SDEs
``DPMSolverPP2MSDE``           2        1          yes         SDE-DPM-Solver++(2M)
``DPMSolverPP3MSDE``           2        1          yes         DPM-Solver++(3M) SDE as published
``SASolver``                   1-2      1          yes         stochastic Adams, 1-4 steps
``StochasticHeun``             1        2          yes         EDM with churn
``edm_stochastic``             1        2          yes         ``StochasticHeun`` with the parameters of EDM
``PredictorCorrector``         1        2 or more  yes         Langevin correctors
``AnnealedLangevin``           0        steps      yes         NCSN
``MultistepConsistency``       0        1          yes         multistep sampling of consistency models
``DPS``                        1        base       base        diffusion posterior sampling
``PrecomputedSolver``          base     base       base        the coefficients of another solver as leaves
``precomputed``                base     base       base        builds a ``PrecomputedSolver``
=============================  =======  =========  ==========  =====================================================

The order of a stochastic solver is its weak order on Gaussian data. Your own solver subclasses :class:`SolverBase`
(any step), :class:`LinearSolver` (one evaluation and a linear combination) or :class:`WrappedSolver` (another solver
with a change).
"""

from scorekit.solvers import grids, steps
from scorekit.solvers._base import LinearSolver, NoiseLevels, Row, SolverBase, WrappedSolver, noise_levels
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
    "LinearSolver",
    "Midpoint",
    "MultistepConsistency",
    "NoiseLevels",
    "PrecomputedSolver",
    "PredictorCorrector",
    "ReverseDiffusion",
    "Row",
    "SASolver",
    "SolverBase",
    "StochasticHeun",
    "UniPC",
    "WrappedSolver",
    "ddim",
    "deis",
    "edm_stochastic",
    "grids",
    "linear_multistep",
    "noise_levels",
    "precomputed",
    "steps",
]
