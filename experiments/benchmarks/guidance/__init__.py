"""Guidance rules: the tables of ``python -m experiments.benchmarks.guidance``."""
