"""Errors and costs for inverse problems: the tables of ``python -m experiments.benchmarks.inverse``."""
