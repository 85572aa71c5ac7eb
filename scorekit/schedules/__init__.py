"""Noise schedules: ``alpha(t)``, ``sigma(t)``, ``log_snr(t)`` and its inverse ``time_at(log_snr)`` on t in [0, 1].

Returns:
  A schedule with ``alpha``, ``sigma``, ``log_snr`` and ``time_at``.
"""

from scorekit.schedules._derivatives import time_derivative
from scorekit.schedules._non_variance_preserving import edm, geometric_ve, rectified_flow, sub_vp
from scorekit.schedules._tables import from_betas, learned
from scorekit.schedules._transforms import schedule_from_functions, shifted, zero_terminal_snr
from scorekit.schedules._variance_preserving import cosine, laplace, linear_vp, sigmoid

__all__ = [
    "cosine",
    "edm",
    "from_betas",
    "geometric_ve",
    "laplace",
    "learned",
    "linear_vp",
    "rectified_flow",
    "schedule_from_functions",
    "shifted",
    "sigmoid",
    "sub_vp",
    "time_derivative",
    "zero_terminal_snr",
]
