"""Errors and costs for inverse problems: the tables of ``python -m experiments.projects.posteriors.inverse``."""
