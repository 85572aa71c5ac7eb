"""Drifting on the digits: a generator of one evaluation, from data alone.

    python -m experiments.train --config=experiments/configs/images/drifting_digits.py --workdir=runs/drifting_digits

RESULT
"""

from experiments.configs.images import flow_map_digits


def get_config():
    return drifting(flow_map_digits.get_config())


def drifting(config):
    """A generator of the data of the config of a flow map; a batch holds several examples of a class."""
    config.loss.flow_map.name = "drifting"
    config.training.batch_size = 256
    config.evaluation.step_counts = ()
    return config
