"""Sounds of seconds: the tables of ``python -m experiments.benchmarks.sound``."""
