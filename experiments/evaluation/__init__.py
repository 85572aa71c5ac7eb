"""Metrics of a run, and evaluators that never saw the model."""
