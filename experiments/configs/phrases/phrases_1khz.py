"""The low-rate model of a cascade: phrases at 1 kHz, a quarter of the sample rate, full length.

    python -m experiments.train --config=experiments/configs/phrases/phrases_1khz.py --workdir=runs/phrases_1khz

3,000 steps.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="phrases", set="soundfont_phrases/4khz")
    config.data.representation.update(name="low_rate", factor=4, scale=4.0)
    config.network.update(patch=8, channels=48, multipliers=(1, 2, 2))
    config.network.update(factors=(4, 2), attention_resolutions=(64,), heads=4)
    config.training.update(steps=3000, batch_size=16, learning_rate=1e-3)
    config.evaluation.bound_times = 4
    return config
