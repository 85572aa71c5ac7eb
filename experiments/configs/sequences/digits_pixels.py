"""The digits pixel by pixel: an autoregressive transformer of the 17 grey values of 8 x 8 pixels.

python -m experiments.train --config=experiments/configs/sequences/digits_pixels.py --workdir=runs/digits_pixels

The same in the order of Subscale Pixel Networks, as masked or uniform diffusion, or with a WaveNet:
  --config.order.name=subscale
  --config.model=masked --config.network.name=dit --config.network.patch=1
  --config.network.name=causal_wavenet --config.network.channels=64 --config.network.layers=12 --config.network.cycle=6
"""

from experiments.configs import base_sequence


def get_config():
    config = base_sequence.get_config()
    config.data.name = "sklearn_digits"
    config.network.depth = 3
    config.network.width = 64
    config.network.heads = 4
    config.training.steps = 1500
    config.training.batch_size = 128
    config.training.learning_rate = 2e-3
    return config
