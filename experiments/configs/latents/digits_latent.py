"""An autoencoder of the handwritten digits: 8 x 8 pixels to a latent of 4 x 4 positions with one channel.

    python -m experiments.train --config=experiments/configs/latents/digits_latent.py --workdir=runs/digits_latent

With a discrete latent, each position one of 64 vectors of 4 numbers:
  --config.autoencoder.codes=64 --config.autoencoder.latent_channels=4

Two CPU minutes: held-out scans, in [-1, 1], are decoded with an RMS error of 0.125, 2.2 % of
their power (docs/hierarchy.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config("autoencoder")
    config.data.set = "sklearn_digits"
    config.autoencoder.update(channels=32, multipliers=(1, 2), latent_channels=1)
    config.training.update(steps=1500, batch_size=128, learning_rate=3e-3)
    config.loss.update(noise=0.1, kl=1e-3)
    return config
