"""Autoencoders, models of their latents, and cascades."""
