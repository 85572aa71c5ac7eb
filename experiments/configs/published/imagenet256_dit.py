r"""Class-conditional ImageNet at 256 x 256 by DiT-XL/2, on latents of 32 x 32 x 4 (Peebles & Xie 2023).

    python -m experiments.tasks.latents.precompute --weights=weights/sd-vae-ft-ema --data=/data/imagenet \
        --out=runs/imagenet256_latents --config.data.image_size=256 --config.data.test_split=val
    python -m experiments.train --config=experiments/configs/published/imagenet256_dit.py \
        --workdir=runs/imagenet256_dit --config.data.path=/data/imagenet
    python -m experiments.evaluate --workdir=runs/imagenet256_dit --config.evaluation.fid.weights=…

Not run here: no accelerator was at hand.

Published: FID 2.27 with guidance of 1.5 and 250 steps (abstract of https://arxiv.org/abs/2212.09748). 675,129,632
parameters with the positions and the channels of the variance; 674,816,272 here: without these 294,912 and 18,448. 5.7
steps a second on a TPU v3-256 pod (the paper): 340 hours of the pod.

Values: the training set-up of the paper; a tenth of the labels is dropped (from memory).

Differences: products in bfloat16, activations computed again in the backward pass; the variance is not learned, and
the loss is of the noise alone; times are continuous, from the time of the first of 1,000 steps on; latents are means of
the encoder, there draws from it, of images that are not flipped; guidance changes all channels, there the first three
of four (``docs/weights.md``).
"""

from experiments.configs import base
from experiments.configs.published import imagenet, use_preset
from scorekit.networks import DiT


def get_config():
    config = base.get_config()
    imagenet(config, 256)
    config.latents = "runs/imagenet256_latents"
    config.schedule.name = "linear_vp"
    use_preset(config, DiT, "DiT-XL/2")
    config.network.update(dtype="bfloat16", remat=True, attention="fused")
    config.preconditioning.noise.name = "timestep"
    config.loss.target.name = "eps"
    config.loss.weighting.name = "eps"
    config.loss.times.t_min = 1e-3
    config.loss.label_dropout = 0.1
    config.training.update(steps=7_000_000, batch_size=256, learning_rate=1e-4, fsdp=-1)
    config.training.update(warmup_steps=0, final_fraction=1.0, clip_norm=None)
    config.training.update(ema_decays=(0.9999,), log_every=100, sample_every=50_000, checkpoint_every=10_000)
    config.sampling.update(ema="0.9999", guidance_scale=1.5)
    config.sampling.solver.name = "ancestral"
    config.sampling.grid.name = "uniform"
    config.sampling.update(steps=250, batch_size=32)
    config.evaluation.guidance_scales = (1.0, 1.5)
    return config
