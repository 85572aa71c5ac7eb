"""Noise schedules: ``alpha(t)``, ``sigma(t)``, ``log_snr(t)`` and its inverse ``time_at(log_snr)`` on t in [0, 1]."""

from scorekit.schedules._derivatives import time_derivative
from scorekit.schedules._non_variance_preserving import EDM, GeometricVE, RectifiedFlow, SubVP
from scorekit.schedules._tables import from_betas, learned
from scorekit.schedules._transforms import ZeroTerminalSNR, schedule_from_functions, shifted
from scorekit.schedules._variance_preserving import Cosine, Laplace, LinearVP, Sigmoid

__all__ = [
    "EDM",
    "Cosine",
    "GeometricVE",
    "Laplace",
    "LinearVP",
    "RectifiedFlow",
    "Sigmoid",
    "SubVP",
    "ZeroTerminalSNR",
    "from_betas",
    "learned",
    "schedule_from_functions",
    "shifted",
    "time_derivative",
]
