"""Handwritten digits by a flow of couplings (Glow with splines): exact bits per dimension, samples in one pass.

    python -m experiments.train --config=experiments/configs/images/digits_flow.py --workdir=runs/digits_flow

A minute and a quarter on two cores: 2.01 bits a pixel on the test set. The class of 99.9 % of the samples is right at
temperature 0.7, with a recall of 0.36, and of 96.6 % at temperature 1, with a recall of 0.82. More steps fit the 1,500
scans by heart.
"""

from experiments.configs import base


def get_config():
    config = base.get_config("flow")
    config.data.set = "sklearn_digits"
    config.network.update(features=64, levels=2, steps=4, transform="spline")
    config.training.update(steps=400, batch_size=128, learning_rate=1e-3, weight_decay=0.3, ema_decays=(0.98,))
    config.sampling.ema = "0.98"
    return config
