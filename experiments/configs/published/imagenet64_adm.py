r"""Class-conditional ImageNet at 64 x 64 by ADM with dropout (Dhariwal & Nichol 2021).

    python -m experiments.train --config=experiments/configs/published/imagenet64_adm.py --workdir=runs/imagenet64_adm \
        --config.data.path=/data/imagenet
    python -m experiments.evaluate --workdir=runs/imagenet64_adm --config.evaluation.fid.weights=…

Not run here: no accelerator was at hand.

Published: FID 2.07 (README of guided-diffusion; https://arxiv.org/abs/2105.05233), without guidance. 295,904,454
parameters with the channels of the variance; 295,900,035 here: without these 5,187, and with a null label of 768.

Values: sizes, dropout and schedule from the README of guided-diffusion; batch, steps and learning rate from the paper
(from memory).

Differences: the variance is not learned, and the loss is of the noise alone; times are continuous, from the time of
the first of 1,000 steps on; bfloat16 in place of float16; the filter that resizes images; stratified times.
"""

from experiments.configs import base
from experiments.configs.published import conditional, imagenet, use_preset
from scorekit.networks import ResidualUNet


def get_config():
    config = base.get_config()
    imagenet(config, 64)
    config.data.augment = "flip"
    conditional(config)
    config.schedule.update(name="cosine", s=0.008)
    use_preset(config, ResidualUNet, "adm-imagenet-64-edm")
    config.network.update(dtype="bfloat16", attention="fused")
    config.preconditioning.noise.update(name="timestep", betas="squaredcos_cap_v2")
    config.loss.target.name = "eps"
    config.loss.weighting.name = "eps"
    config.loss.times.t_min = 1e-3
    config.training.update(steps=540_000, batch_size=2048, learning_rate=3e-4)
    config.training.update(warmup_steps=0, final_fraction=1.0, clip_norm=None, accumulate=4)
    config.training.update(ema_decays=(0.9999,), log_every=100, sample_every=20_000, checkpoint_every=5000)
    config.sampling.ema = "0.9999"
    config.sampling.solver.name = "ancestral"
    config.sampling.grid.update(name="uniform", t_max=0.999)
    config.sampling.update(steps=250, batch_size=100)
    return config
