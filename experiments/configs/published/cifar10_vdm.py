"""The likelihood of CIFAR-10 without augmentation by a variational diffusion model (Kingma et al. 2021).

    python -m experiments.train --config=experiments/configs/published/cifar10_vdm.py --workdir=runs/cifar10_vdm
    python -m experiments.evaluate --workdir=runs/cifar10_vdm --config.evaluation.bound_times=128

Not run here: no accelerator was at hand.

Published: 2.64 bits/dim, the variational bound of the test set (README of the repository vdm of google-research;
https://arxiv.org/abs/2107.00630). The number of parameters is not stated; 30,583,299 here, of which the 5,632 of the
classes are not used. Device-hours: not stated; tested on a TPU v3-8.

Values: ``configs/cifar10.py`` of that repository.

The ends of the log-SNR start at 13.3 and -5 and are trained by the bound, which is the loss.

Differences: what is between the ends is trained too, for a small variance, as in the paper; in ``configs/cifar10.py``
of the repository it is a straight line (the bound is the same). No dropout, there 0.1; the network does not add its
input to its output; weight decay acts on kernels alone; the average warms up; one draw of noise serves a training
example at its time and at the data end.
"""

from experiments.configs import base
from experiments.configs.published import use_preset
from scorekit.networks import ResidualUNet


def get_config():
    config = base.get_config()
    config.data.set = "cifar10"
    base.unconditional(config)
    config.loss.objective = "bound"
    config.schedule.update(name="learned", log_snr_max=13.3, log_snr_min=-5.0)
    use_preset(config, ResidualUNet, "vdm-cifar10")
    config.loss.target.name = "eps"
    config.loss.weighting.name = "likelihood"
    config.loss.times.t_min = 0.0
    config.training.update(steps=10_000_000, batch_size=128, learning_rate=2e-4, warmup_steps=100)
    config.training.update(final_fraction=1.0, betas=(0.9, 0.99), weight_decay=0.01, clip_norm=None)
    config.training.update(ema_decays=(0.9999,), log_every=1000, sample_every=100_000, checkpoint_every=10_000)
    config.sampling.ema = "0.9999"
    config.sampling.solver.name = "ancestral"
    config.sampling.grid.name = "uniform"
    config.sampling.steps = 1000
    return config
