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
from scorekit.solvers.ode import DPMSolverPP2M, Euler, Heun
from scorekit.solvers.sampling import nfe, sample
from scorekit.solvers.sde import Ancestral, EulerMaruyama, ddim

__all__ = [
    "Ancestral",
    "DPMSolverPP2M",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "ddim",
    "grids",
    "nfe",
    "sample",
]
