"""Models of quantised data: the tables of ``python -m experiments.benchmarks.sequences``."""
