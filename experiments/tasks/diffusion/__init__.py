"""Diffusion models: fields, model, objectives, loss, sampling, guidance, metrics and report."""
