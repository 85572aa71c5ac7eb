r"""Class-conditional ImageNet at 64 x 64 by EDM2-S (Karras et al. 2024).

    python -m experiments.train --config=experiments/configs/published/imagenet64_edm2_s.py \
        --workdir=runs/imagenet64_edm2_s --config.data.path=/data/imagenet
    python -m experiments.evaluate --workdir=runs/imagenet64_edm2_s --config.sampling.ema=power_0.075 \
        --config.evaluation.fid.weights=…

Not run here: no accelerator was at hand.

Published: FID 1.58 with 63 network evaluations, at a relative width of the average of 0.075 (repository edm2;
https://arxiv.org/abs/2312.02696). 280.2 million parameters, here as well.

Values: the preset ``edm2-img64-s`` of its ``train_edm2.py``; 2^30 images and the width are part of the name of the
published network.

Differences: bfloat16 in place of float16; a null label that is not used; noise is clipped to sigma in [0.002, 80] in
training; the filter that resizes images; the last step, from sigma = 0.002 to 0, is left out: 62 evaluations; 20
snapshots of the averages, there one every 8 million images.
"""

from experiments.configs import base
from experiments.configs.published import cifar10_edm, conditional, imagenet, use_preset
from scorekit.networks import EDM2

BATCH = 2048


def get_config():
    config = base.get_config()
    imagenet(config, 64)
    conditional(config)
    cifar10_edm.use_edm(config, mean=-0.8, std=1.6, steps=31)
    use_preset(config, EDM2, "img64-s")
    use_edm2(config)
    config.training.update(steps=2**30 // BATCH, learning_rate=0.01, decay_start=35_000)
    return config


def use_edm2(config):
    """What the sizes and data sets of EDM2 have in common."""
    config.network.update(dtype="bfloat16", attention="fused")
    config.loss.log_variance = True
    config.training.update(batch_size=BATCH, warmup_steps=10_000_000 // BATCH, betas=(0.9, 0.99), clip_norm=None)
    config.training.accumulate = 4  # 32 images at once on each of 16 chips
    config.training.update(ema_decays=(), power_ema=(0.05, 0.1), log_every=100)
    config.training.update(sample_every=20_000, checkpoint_every=4096)
    config.sampling.update(ema="power_0.1", batch_size=100)
