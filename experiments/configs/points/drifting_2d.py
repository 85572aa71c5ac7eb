"""Drifting on the ring of eight Gaussians: a generator of one evaluation, from data alone.

    python -m experiments.train --config=experiments/configs/points/drifting_2d.py --workdir=runs/drifting_2d

RESULT
"""

from experiments.configs.images.drifting_digits import drifting
from experiments.configs.points import flow_map_2d


def get_config():
    return drifting(flow_map_2d.get_config())
