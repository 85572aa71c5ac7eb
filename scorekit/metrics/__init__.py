"""Distances between two sets of feature vectors ``(N, D)``: real and generated."""

from scorekit.metrics.energy import energy_distance
from scorekit.metrics.frechet import frechet_distance
from scorekit.metrics.neighbours import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from scorekit.metrics.sliced import sliced_wasserstein
from scorekit.metrics.vendi import vendi_score

__all__ = [
    "DensityCoverage",
    "PrecisionRecall",
    "density_coverage",
    "energy_distance",
    "frechet_distance",
    "precision_recall",
    "sliced_wasserstein",
    "vendi_score",
]
