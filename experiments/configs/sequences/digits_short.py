"""The digits as 2 x 2 pixels of 8 grey levels: short sequences, all 4,096 of which can be counted.

    python -m experiments.train --config=experiments/configs/sequences/digits_short.py --workdir=runs/digits_short
    python -m experiments.projects.ood.counted --workdir=runs/digits_short

Of 4 x 4 bits there are 65,536: --config.data.image_size=4 --config.symbols.levels=2

30 CPU seconds: 1.365 ± 0.042 bits a symbol of held-out digits, exact. At guidance scale 2, a classifier finds the
class in 76.4 % of the samples of the conditionals and 79.8 % of the joint (docs/autoregressive.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config("sequence")
    config.data.image_size = 2
    config.symbols.levels = 8
    config.network.update(depth=2, width=32, heads=2)
    config.training.update(steps=1000, batch_size=128, learning_rate=3e-3, sample_every=1000)
    config.evaluation.guidance_scales = (1.0,)
    return config
