"""The cost of sampling and of a training step: the tables of ``python -m experiments.benchmarks.cost``."""
