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
from scorekit.solvers.adaptive import AdaptiveResult, adaptive_ode
from scorekit.solvers.adaptive_stochastic import adaptive_sde
from scorekit.solvers.chains import MetropolisResult, corrupt_denoise, langevin, metropolis_langevin, sgld
from scorekit.solvers.corrected import AnnealedLangevin, PredictorCorrector, StochasticHeun, edm_stochastic
from scorekit.solvers.dps import DPS
from scorekit.solvers.editing import sdedit, translate
from scorekit.solvers.inversion import invert
from scorekit.solvers.log_prob import LoggedSample, sample_with_log_probs, trajectory_log_probs
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
from scorekit.solvers.parallel import ParallelResult, parallel_sample
from scorekit.solvers.particles import ParticleResult, product_sample, twisted_sample
from scorekit.solvers.renoise import Renoise
from scorekit.solvers.repaint import repaint, repaint_path
from scorekit.solvers.resampling import effective_sample_size, systematic_resample
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
from scorekit.solvers.tabled import TabledSolver, tabled
from scorekit.solvers.unipc import UniPC

__all__ = [
    "DPS",
    "IPNDM",
    "RK4",
    "AdamsBashforth",
    "AdaptiveResult",
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
    "LoggedSample",
    "MetropolisResult",
    "Midpoint",
    "ParallelResult",
    "ParticleResult",
    "PredictorCorrector",
    "Renoise",
    "ReverseDiffusion",
    "SASolver",
    "StochasticHeun",
    "TabledSolver",
    "UniPC",
    "adaptive_ode",
    "adaptive_sde",
    "corrupt_denoise",
    "ddim",
    "deis",
    "edm_stochastic",
    "effective_sample_size",
    "grids",
    "invert",
    "langevin",
    "linear_multistep",
    "metropolis_langevin",
    "nfe",
    "parallel_sample",
    "product_sample",
    "repaint",
    "repaint_path",
    "sample",
    "sample_with_log_probs",
    "sdedit",
    "sgld",
    "systematic_resample",
    "tabled",
    "trajectory_log_probs",
    "translate",
    "twisted_sample",
]
