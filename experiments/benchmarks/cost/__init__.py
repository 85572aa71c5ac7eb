"""The cost of sampling, of a training step, and of devices: the tables of ``python -m experiments.benchmarks.cost``."""
