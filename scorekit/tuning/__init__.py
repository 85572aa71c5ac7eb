"""Tuned samplers: time grids and coefficients of solvers, optimised by differentiating through the sampler."""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.tuning.saved_grids import SavedGrid as SavedGrid
    from scorekit.tuning.saved_grids import load_grid as load_grid
    from scorekit.tuning.saved_grids import restore_solver as restore_solver
    from scorekit.tuning.saved_grids import save_grid as save_grid
    from scorekit.tuning.tuned import Pairs as Pairs
    from scorekit.tuning.tuned import Trial as Trial
    from scorekit.tuning.tuned import Tuned as Tuned
    from scorekit.tuning.tuned import distances as distances
    from scorekit.tuning.tuned import fine_pairs as fine_pairs
    from scorekit.tuning.tuned import tune as tune

__getattr__, __dir__ = attach(__name__)
