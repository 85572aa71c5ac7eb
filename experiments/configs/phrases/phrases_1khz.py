"""The low-rate model of a cascade: phrases at 1 kHz, a quarter of the sample rate, full length.

    python -m experiments.train --config=experiments/configs/phrases/phrases_1khz.py --workdir=runs/phrases_1khz

3,000 steps.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "soundfont_phrases/4khz"
    config.data.representation.name = "low_rate"
    config.data.representation.factor = 4
    config.data.representation.scale = 4.0
    config.network.patch = 8
    config.network.channels = 48
    config.network.multipliers = (1, 2, 2)
    config.network.factors = (4, 2)
    config.network.attention_resolutions = (64,)
    config.network.heads = 4
    config.training.steps = 3000
    config.training.batch_size = 16
    config.training.learning_rate = 1e-3
    config.evaluation.bound_times = 4
    return config
