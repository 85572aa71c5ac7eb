"""Models of 1 to 4 steps at equal training time: the parts of ``python -m experiments.benchmarks.few_step_models``."""
