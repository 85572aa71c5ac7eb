"""Metrics of a run, and evaluators that never saw the model."""

from ml_collections import ConfigDict

from experiments.cli.ranges import at_least, count, items


def fields() -> ConfigDict:
    """The section ``evaluation`` of a config, with defaults."""
    evaluation = ConfigDict()
    evaluation.num_samples = 1500
    evaluation.guidance_scales = (1.0, 2.0, 4.0)
    evaluation.bound_times = 32
    """Noise levels per test example in the variational bound."""
    return evaluation


RANGES = {
    "num_samples": count(1, 10**8),
    "guidance_scales": items(at_least(0)),
    "bound_times": count(1, 10**6),
}
"""The values of the fields."""
