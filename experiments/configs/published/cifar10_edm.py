r"""Class-conditional CIFAR-10 by EDM: its preconditioning, loss and augmentation on DDPM++.

    python -m experiments.train --config=experiments/configs/published/cifar10_edm.py --workdir=runs/cifar10_edm
    python -m experiments.evaluate --workdir=runs/cifar10_edm --config.evaluation.fid.weights=… \
        --config.evaluation.fid.repeats=3

Not run here: no accelerator was at hand.

Published: FID 1.79 with 35 network evaluations (Karras et al. 2022, abstract; the least of three sets of samples;
https://arxiv.org/abs/2206.00364). 55,735,299 parameters: 55,733,891 of the unconditional network, as in the
implementation of physicsnemo, and 1,408 of the classes. Device-hours: two days on eight V100, 384 V100-hours (README
of the repository edm).

Values: the defaults of its ``train.py``; the decay of the average is a half-life of 500,000 images.

Differences: images are flipped in 6 % of the draws, as one of the six transformations, there always in half of them;
the wavelet filters of the augmentation are cubic convolution here; the average warms up by (1 + n) / (10 + n), there
with a half-life of 5 % of the images seen; noise is clipped to sigma in [0.002, 80] in training; the last step, from
sigma = 0.002 to 0, a quarter of a grey value, is left out: 34 evaluations.
"""

from experiments.configs import base
from experiments.configs.published import conditional, use_preset
from scorekit.networks import SongUNet

BATCH = 512


def get_config():
    config = base.get_config()
    config.data.update(set="cifar10", augment="edm")
    config.conditions.vector.name = "augmentation"
    conditional(config)
    use_edm(config)
    use_preset(config, SongUNet, "ddpmpp-cifar10")
    config.training.update(steps=200_000_000 // BATCH, batch_size=BATCH, learning_rate=1e-3)
    config.training.update(warmup_steps=10_000_000 // BATCH, final_fraction=1.0, clip_norm=None)
    config.training.ema_decays = (0.99929,)  # 0.5 ** (512 / 500,000)
    config.training.update(log_every=100, sample_every=20_000, checkpoint_every=5000)
    config.sampling.ema = "0.99929"
    return config


def use_edm(config, sigma_data=0.5, mean=-1.2, std=1.2, steps=17):
    """EDM's noise, preconditioning and loss, and Heun's method on its own steps, less the one to sigma = 0."""
    config.schedule.name = "edm"
    config.preconditioning.noise.scale = -0.125
    config.preconditioning.sigma_data = sigma_data
    config.loss.target.update(name="edm", sigma_data=sigma_data)
    config.loss.weighting.update(name="edm", sigma_data=sigma_data)
    config.loss.times.update(name="log_normal_sigma", mean=mean, std=std)
    config.sampling.solver.update(name="heun", coordinate="sigma")
    config.sampling.grid.name = "uniform"
    config.sampling.steps = steps
