"""Tuned samplers: time grids and coefficients of solvers, optimised by differentiating through the sampler."""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.tuning.saved_grids import SavedGrid, load_grid, restore_solver, save_grid
    from scorekit.tuning.tuned import Pairs, Trial, Tuned, distances, fine_pairs, tune

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "Pairs",
    "SavedGrid",
    "Trial",
    "Tuned",
    "distances",
    "fine_pairs",
    "load_grid",
    "restore_solver",
    "save_grid",
    "tune",
]
