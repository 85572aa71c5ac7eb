"""The digits with a small diffusion transformer in place of the U-Net.

python -m experiments.train --config=experiments/configs/images/digits_dit.py --workdir=runs/digits_dit

329 thousand parameters. Measured: the first 888 of 2,500 steps in 4 min 45 s on two busy cores (0.13 CPU seconds a
step), in which the training loss falls from 0.86 to 0.25.
"""

from experiments.configs.images import digits


def get_config():
    config = digits.get_config()
    config.network.name = "dit"
    config.network.channels = None
    config.network.patch = 2
    config.network.depth = 4
    config.network.width = 64
    config.network.heads = 4
    config.training.learning_rate = 1e-3
    return config
