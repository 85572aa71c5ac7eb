"""Tuned samplers: time grids and coefficients of solvers, optimised by differentiating through the sampler."""

from scorekit._extras import optax  # noqa: F401
from scorekit.tuning.saved_grids import SavedGrid, load_grid, restore_solver, save_grid
from scorekit.tuning.tune import Pairs, Trial, Tuned, distances, fine_pairs, tune

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
