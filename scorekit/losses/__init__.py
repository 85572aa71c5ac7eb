"""Objectives of a denoiser and of a classifier of noisy data.

Of encoders: :mod:`~scorekit.losses.contrastive`; without noise: :mod:`~scorekit.losses.score_matching`.
"""

from scorekit.losses import contrastive, score_matching
from scorekit.losses.denoising import (
    Binned,
    ClassificationAux,
    LossAux,
    bin_by_noise_level,
    classification_loss,
    classification_loss_at,
    denoising_loss,
    denoising_loss_at,
    uncertainty_weighted,
)

__all__ = [
    "Binned",
    "ClassificationAux",
    "LossAux",
    "bin_by_noise_level",
    "classification_loss",
    "classification_loss_at",
    "contrastive",
    "denoising_loss",
    "denoising_loss_at",
    "score_matching",
    "uncertainty_weighted",
]
