"""A denoising autoencoder of the digits with one noise level; the same loss as diffusion, with another choice of times.

python -m experiments.train --config=experiments/configs/latents/digits_autoencoder.py --workdir=runs/digits_autoencoder

A level that falls during training (scheduled), or several levels (composite):
  --config.loss.times.name=annealed --config.loss.times.first=0.8 --config.loss.times.last=0.1
  --config.loss.times.ts=0.1,0.3,0.5,0.7

``experiments.analysis.autoencoder`` trains all of them beside a diffusion model and compares their features.
"""

from experiments.configs.images import digits


def get_config():
    config = digits.get_config()
    config.loss.label_dropout = 1.0
    config.loss.times.name = "discrete"
    config.loss.times.ts = (0.15,)
    return config
