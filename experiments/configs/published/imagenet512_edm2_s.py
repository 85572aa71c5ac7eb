r"""Class-conditional ImageNet at 512 x 512 by EDM2-S, on latents of 64 x 64 x 4 (Karras et al. 2024).

    python -m experiments.tasks.latents.precompute --weights=weights/sd-vae-ft-mse --data=/data/imagenet \
        --out=runs/imagenet512_latents --config.data.image_size=512 --config.data.test_split=val
    python -m experiments.train --config=experiments/configs/published/imagenet512_edm2_s.py \
        --workdir=runs/imagenet512_edm2_s --config.data.path=/data/imagenet
    python -m experiments.evaluate --workdir=runs/imagenet512_edm2_s --config.sampling.ema=power_0.13 \
        --config.evaluation.fid.weights=…

Not run here: no accelerator was at hand.

Published: FID 2.56 without guidance at a relative width of the average of 0.13, 2.23 guided by an unconditional
network (repository edm2; https://arxiv.org/abs/2312.02696), 63 network evaluations each. 280.2 million parameters,
here as well.

Values: the preset ``edm2-img512-s`` of its ``train_edm2.py``; 2^31 images and the width are part of the name of the
published network.

Latents have the standard deviation 1 here (nearly: the one scale of the autoencoder for all channels), there 0.5 by
channel: all noise levels are doubled, and the network is given log(sigma / 2) / 4.

Differences: latents are means of the encoder, there draws from it; and the differences of
``imagenet64_edm2_s.py``.
"""

import math

from experiments.configs import base
from experiments.configs.published import cifar10_edm, conditional, imagenet, imagenet64_edm2_s, use_preset
from scorekit.networks import EDM2


def get_config():
    config = base.get_config()
    imagenet(config, 512)
    config.latents = "runs/imagenet512_latents"
    conditional(config)
    cifar10_edm.use_edm(config, sigma_data=1.0, mean=-0.4 + math.log(2.0), std=1.0, steps=31)
    config.schedule.update(sigma_min=2 * 0.002, sigma_max=2 * 80.0)
    config.preconditioning.noise.offset = -math.log(2.0) / 4
    use_preset(config, EDM2, "img512-s")
    imagenet64_edm2_s.use_edm2(config)
    config.training.update(steps=2**31 // imagenet64_edm2_s.BATCH, learning_rate=0.01, decay_start=70_000)
    return config
