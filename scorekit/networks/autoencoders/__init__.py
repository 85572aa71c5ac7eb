"""Autoencoders of signals and images with a compact latent, and of sounds with a decoder for each domain."""

from scorekit.networks.autoencoders._code_levels import CodeLevel
from scorekit.networks.autoencoders.autoencoder import Autoencoder, fixed_noise_kl
from scorekit.networks.autoencoders.translation import TranslationNetwork, reverse_gradient

__all__ = ["Autoencoder", "CodeLevel", "TranslationNetwork", "fixed_noise_kl", "reverse_gradient"]
