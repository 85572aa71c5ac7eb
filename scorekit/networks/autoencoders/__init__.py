"""Autoencoders, and vector quantisation of their latents."""

from scorekit.networks.autoencoders import autoencoder_kl
from scorekit.networks.autoencoders.autoencoder import Autoencoder, fixed_noise_kl
from scorekit.networks.autoencoders.autoencoder_kl import AutoencoderKL, Posterior
from scorekit.networks.autoencoders.quantise import (
    Quantised,
    code_counts,
    nearest_code,
    perplexity,
    quantise,
    revival_loss,
)

__all__ = [
    "Autoencoder",
    "AutoencoderKL",
    "Posterior",
    "Quantised",
    "autoencoder_kl",
    "code_counts",
    "fixed_noise_kl",
    "nearest_code",
    "perplexity",
    "quantise",
    "revival_loss",
]
