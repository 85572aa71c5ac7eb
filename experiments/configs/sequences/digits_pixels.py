"""The digits pixel by pixel: an autoregressive transformer of the 17 grey values of 8 x 8 pixels.

    python -m experiments.train --config=experiments/configs/sequences/digits_pixels.py --workdir=runs/digits_pixels

The same in the order of Subscale Pixel Networks: --config.order.name=subscale

Six CPU minutes: 1.766 bits a pixel, exact, of held-out digits (subscale: 1.956; docs/autoregressive.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config("sequence")
    config.data.set = "sklearn_digits"
    config.network.update(depth=3, width=64, heads=4, dropout=0.3)
    config.training.update(steps=800, batch_size=128, learning_rate=2e-3, weight_decay=0.1, warmup_steps=50)
    config.training.checkpoint_every = 100
    return config
