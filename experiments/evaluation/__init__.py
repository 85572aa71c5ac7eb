"""Metrics of a run, and evaluators that never saw the model."""

from ml_collections import ConfigDict


def fields() -> ConfigDict:
    """The section ``evaluation`` of a config, with defaults."""
    evaluation = ConfigDict()
    evaluation.num_samples = 1500
    evaluation.guidance_scales = (1.0, 2.0, 4.0)
    evaluation.bound_times = 32
    """Noise levels per test example in the variational bound."""
    return evaluation
