"""Handwritten digits by a flow of couplings (Glow with splines): exact bits per dimension, samples in one pass.

python -m experiments.train --config=experiments/configs/images/digits_flow.py --workdir=runs/digits_flow
"""

from experiments.configs import base


def get_config():
    config = base.get_config("flow")
    config.data.name = "sklearn_digits"
    config.network.update(features=64, levels=2, steps=4, transform="spline")
    config.training.update(steps=3000, batch_size=128, learning_rate=1e-3)
    return config
