r"""Class-conditional CIFAR-10 by EDM: its preconditioning, loss and augmentation on DDPM++.

    python -m experiments.train --config=experiments/configs/published/cifar10_edm.py --workdir=runs/cifar10_edm
    python -m experiments.evaluate --workdir=runs/cifar10_edm --config.evaluation.fid.weights=… \
        --config.evaluation.fid.repeats=3

Not run here: no accelerator was at hand.

Published: FID 1.79 with 35 network evaluations (Karras et al. 2022, abstract; the least of three sets of samples;
https://arxiv.org/abs/2206.00364). 55,735,299 parameters: 55,733,891 of the unconditional network, as in the
implementation of physicsnemo, and 1,408 of the classes. Device-hours: two days on eight V100, 384 V100-hours (from
memory).

Values: the paper's table of hyper-parameters (from memory); the decay of the average is a half-life of 500,000
images.

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
    config.data.name = "cifar10"
    config.data.augment = "edm"
    config.data.vector.name = "augmentation"
    conditional(config)
    use_edm(config)
    use_preset(config, SongUNet, "ddpmpp-cifar10")
    config.training.steps = 200_000_000 // BATCH
    config.training.batch_size = BATCH
    config.training.learning_rate = 1e-3
    config.training.warmup_steps = 10_000_000 // BATCH
    config.training.final_fraction = 1.0
    config.training.clip_norm = None
    config.training.ema_decays = (0.99929,)  # 0.5 ** (512 / 500,000)
    config.training.log_every = 100
    config.training.sample_every = 20_000
    config.training.checkpoint_every = 5000
    config.sampling.ema = "0.99929"
    return config


def use_edm(config, sigma_data=0.5, mean=-1.2, std=1.2, steps=17):
    """EDM's noise, preconditioning and loss, and Heun's method on its own steps, less the one to sigma = 0."""
    config.schedule.name = "edm"
    config.preconditioning.noise.scale = -0.125
    config.preconditioning.sigma_data = sigma_data
    config.loss.target.name = "edm"
    config.loss.target.sigma_data = sigma_data
    config.loss.weighting.name = "edm"
    config.loss.weighting.sigma_data = sigma_data
    config.loss.times.name = "log_normal_sigma"
    config.loss.times.mean = mean
    config.loss.times.std = std
    config.sampling.solver.name = "heun"
    config.sampling.solver.coordinate = "sigma"
    config.sampling.grid.name = "uniform"
    config.sampling.steps = steps
