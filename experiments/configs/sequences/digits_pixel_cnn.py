"""The digits pixel by pixel by a PixelCNN.

python -m experiments.train --config=experiments/configs/sequences/digits_pixel_cnn.py --workdir=runs/digits_pixel_cnn
"""

from experiments.configs import base


def get_config():
    config = base.get_config("sequence")
    config.data.set = "sklearn_digits"
    config.network.update(name="pixel_cnn", columns=8, channels=32, layers=8, dropout=0.3)
    config.training.update(steps=800, batch_size=128, learning_rate=2e-3, weight_decay=0.1, warmup_steps=50)
    config.training.checkpoint_every = 100
    return config
