"""Drifting on the digits: a generator of one evaluation, from data alone.

    python -m experiments.train --config=experiments/configs/images/drifting_digits.py --workdir=runs/drifting_digits

RESULT
"""

from experiments.configs.images import flow_map_digits


def get_config():
    config = flow_map_digits.get_config()
    config.loss.flow_map.name = "drifting"
    config.training.batch_size = 256  # both densities are estimated from a batch
    config.evaluation.step_counts = ()
    return config
