"""Quality per network evaluation: the tables of ``python -m experiments.benchmarks.quality``."""
