"""The digits by masked diffusion: the 17 grey values of 8 x 8 pixels, revealed in any order by a transformer.

python -m experiments.train --config=experiments/configs/sequences/digits_masked.py --workdir=runs/digits_masked

Uniform noise: --config.model=uniform
"""

from experiments.configs.sequences import digits_pixels


def get_config():
    config = digits_pixels.get_config()
    config.model = "masked"
    config.network.name = "dit"
    config.network.patch = 1
    return config
