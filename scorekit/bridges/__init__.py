"""Bridges that hand a denoiser and its schedule to another package; each needs that package, an optional extra."""
