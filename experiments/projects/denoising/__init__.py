"""Diffusion models as autoencoders: representations at each noise level, and the scales of features."""
