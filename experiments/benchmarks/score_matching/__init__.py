"""Score matching with and without noise: ``python -m experiments.benchmarks.score_matching``."""
