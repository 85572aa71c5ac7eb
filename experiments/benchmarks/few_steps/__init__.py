"""Samples of few steps: the tables of ``python -m experiments.benchmarks.few_steps``."""
