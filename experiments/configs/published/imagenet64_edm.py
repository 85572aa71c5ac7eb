r"""Class-conditional ImageNet at 64 x 64 by EDM, on ADM's network (Karras et al. 2022).

    python -m experiments.train --config=experiments/configs/published/imagenet64_edm.py --workdir=runs/imagenet64_edm \
        --config.data.path=/data/imagenet
    python -m experiments.evaluate --workdir=runs/imagenet64_edm --config.evaluation.fid.weights=… \
        --config.evaluation.fid.repeats=3

Not run here: no accelerator was at hand.

Published: FID 1.36 with 511 network evaluations of the stochastic sampler (abstract;
https://arxiv.org/abs/2206.00364). 295,899,267 parameters; 295,900,035 here, with a null label of 768 that is not
used. Device-hours: 13 days on 32 A100, 10,000 A100-hours (README of the repository edm).

Values: the commands of that README for training and sampling, with a half-life of the average of 50 million images.

Differences: bfloat16 in place of float16; the filter that resizes images; and the differences of ``cifar10_edm.py``
that do not concern its augmentation.
"""

from experiments.configs import base
from experiments.configs.published import cifar10_edm, conditional, imagenet, use_preset
from scorekit.networks import ResidualUNet

BATCH = 4096


def get_config():
    config = base.get_config()
    imagenet(config, 64)
    conditional(config)
    cifar10_edm.use_edm(config, steps=255)
    use_preset(config, ResidualUNet, "adm-imagenet-64-edm")
    config.network.update(dtype="bfloat16", attention="fused")
    config.training.update(steps=2_500_000_000 // BATCH, batch_size=BATCH, learning_rate=1e-4)
    config.training.update(warmup_steps=10_000_000 // BATCH, final_fraction=1.0, clip_norm=None, accumulate=8)
    config.training.ema_decays = (0.999943,)  # 0.5 ** (4096 / 50,000,000)
    config.training.update(log_every=100, sample_every=20_000, checkpoint_every=2000)
    config.sampling.ema = "0.999943"
    config.sampling.solver.update(name="edm_stochastic", num_steps=256, churn=40.0, noise=1.003)
    config.sampling.solver.update(noise_min=0.05, noise_max=50.0)
    config.sampling.batch_size = 100
    return config
