"""Short unconditional runs on the digits, weighted for the fine band of frequencies from 0.4 cycles per pixel on.

python -m experiments.benchmarks.band_weighting --config=experiments/configs/digits_band.py
"""

from experiments.configs import digits


def get_config():
    config = digits.get_config()
    config.network.channels = 16
    config.training.steps = 600
    config.training.learning_rate = 3e-3
    config.training.ema_decays = (0.99,)
    config.sampling.ema = "0.99"
    config.loss.label_dropout = 1.0
    config.loss.weighting.name = "band"
    config.loss.weighting.power = (0.1, 0.05)
    config.loss.weighting.count = (1, 1)
    return config
