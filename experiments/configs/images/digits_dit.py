"""The digits with a small diffusion transformer in place of the U-Net.

    python -m experiments.train --config=experiments/configs/images/digits_dit.py --workdir=runs/digits_dit

329 thousand parameters. Five minutes on two cores with nothing else running: at guidance scale 1, class accuracy 0.984
and classification accuracy score 0.980 (0.993 and 0.983 with the U-Net of digits.py); at guidance scale 2, 1.000 and
0.970; the variational bound is 1.92 bits a pixel (1.80).
"""

from experiments.configs.images import digits


def get_config():
    config = digits.get_config()
    config.network.update(name="dit", patch=2, depth=4, width=64, heads=4)
    config.training.learning_rate = 1e-3
    return config
