"""Typicality: where the mass of a distribution lies, and whether an example belongs to it.

Exact: ``coin_table``, ``log_sphere_area``, ``shell_mass``, ``typical_mass`` and ``mirage_typical_radius``. For any
density: ``typical_set``, ``excess_information``, ``monte_carlo_entropy``, ``local_typicality`` and ``seek_mode``. For a
diffusion model: the statistics ``score_norms``, ``reconstruction_errors``, ``path_statistics``, ``score_curvature`` and
the host function ``code_length``. Calibrated on in-distribution data only: the scores ``kernel_density_score``,
``gaussian_score`` and ``mean_z_score``, the transformation ``decorrelate``, and ``p_values`` and ``typicality_test``.
``scorekit.metrics`` measures how well scores separate.
"""

from scorekit.typicality._scores import decorrelate, gaussian_score, kernel_density_score, mean_z_score, standardise
from scorekit.typicality.calibration import TypicalityTest, p_values, typicality_test
from scorekit.typicality.complexity import code_length
from scorekit.typicality.exact import (
    CoinTable,
    coin_table,
    log_sphere_area,
    mirage_typical_radius,
    shell_mass,
    typical_mass,
)
from scorekit.typicality.modes import seek_mode
from scorekit.typicality.sets import Entropy, excess_information, local_typicality, monte_carlo_entropy, typical_set
from scorekit.typicality.statistics import path_statistics, reconstruction_errors, score_curvature, score_norms

__all__ = [
    "CoinTable",
    "Entropy",
    "TypicalityTest",
    "code_length",
    "coin_table",
    "decorrelate",
    "excess_information",
    "gaussian_score",
    "kernel_density_score",
    "local_typicality",
    "log_sphere_area",
    "mean_z_score",
    "mirage_typical_radius",
    "monte_carlo_entropy",
    "p_values",
    "path_statistics",
    "reconstruction_errors",
    "score_curvature",
    "score_norms",
    "seek_mode",
    "shell_mass",
    "standardise",
    "typical_mass",
    "typical_set",
    "typicality_test",
]
