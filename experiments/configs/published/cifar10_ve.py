"""Unconditional CIFAR-10 with the variance-exploding SDE: NCSN++ (continuous) of the score SDE paper.

    python -m experiments.train --config=experiments/configs/published/cifar10_ve.py --workdir=runs/cifar10_ve
    python -m experiments.evaluate --workdir=runs/cifar10_ve --config.evaluation.fid.weights=…

Not run here: no accelerator was at hand.

Published: FID 2.38 (predictor and corrector, 1,000 steps; the best checkpoint; README of score_sde_pytorch; Song et
al. 2021, https://arxiv.org/abs/2011.13456). 62,758,787 parameters; 62,761,603 here, of which the 2,816 of the classes
are not used. 0.20 to 0.30 s a step on four V100 (the same README, in JAX): 290 to 430 V100-hours.

Values: the config ``ve/cifar10_ncsnpp_continuous`` and the defaults of CIFAR-10 of score_sde_pytorch. Data are in
[-1, 1] here and in [0, 1] there: sigma is twice theirs, and the network is given log(sigma / 2).

The output is -eps, as in the published weights. The last of the 1,000 evaluations of the predictor, at sigma =
0.02 (2.5 grey values), removes the noise without drawing any. The loss is the mean over the values of an image, there
half of the sum: gradients are clipped at 1 / 1,536.

Differences: stratified times; the first of the 1,000 corrector steps, at sigma = 100, is left out.
"""

import math

from experiments.configs.published import cifar10_vp, use_preset
from scorekit.networks import SongUNet


def get_config():
    config = cifar10_vp.get_config()
    config.schedule.update(name="geometric_ve", sigma_min=0.02, sigma_max=100.0)
    use_preset(config, SongUNet, "ncsnpp")
    config.preconditioning.noise.update(name="log_snr", scale=-0.5, offset=-math.log(2.0))
    config.loss.target.name = "negative_eps"
    config.training.update(clip_norm=1.0 / 1536, ema_decays=(0.999,))
    config.sampling.ema = "0.999"
    config.sampling.solver.update(name="predictor_corrector", snr=0.16, norms="batch_mean")
    config.sampling.update(steps=999, denoise=True)
    return config
