"""Objectives of a denoiser and of a classifier of noisy data; of encoders in :mod:`~scorekit.losses.contrastive`."""

from scorekit.losses import contrastive
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
    "uncertainty_weighted",
]
