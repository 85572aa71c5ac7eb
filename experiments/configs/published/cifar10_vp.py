r"""Unconditional CIFAR-10 with the variance-preserving SDE: DDPM++ (continuous) of the score SDE paper.

    python -m experiments.train --config=experiments/configs/published/cifar10_vp.py --workdir=runs/cifar10_vp
    python -m experiments.evaluate --workdir=runs/cifar10_vp --config.evaluation.fid.weights=… --bits_per_dim

Not run here: no accelerator was at hand.

Published: FID 2.55 (Euler-Maruyama, 1,000 steps; the best checkpoint), 3.93 by the probability-flow ODE and 3.16
bits/dim at the last (README of score_sde_pytorch; Song et al. 2021, https://arxiv.org/abs/2011.13456). 61,804,419
parameters; 61,805,827 here, of which the 1,408 of the classes are not used. Device-hours: not stated.

Values: the config ``vp/cifar10_ddpmpp_continuous`` and the defaults of CIFAR-10 of score_sde_pytorch.

Differences: stratified times; sampling is ancestral, whose last step to t = 0 draws no noise, in place of
Euler-Maruyama to t = 0.001 whose last noise is left out; the average of the last step, not the best of 26
checkpoints.

``sub_vp``, the sub-VP SDE, whose likelihood is the better one:

    python -m experiments.train --config=experiments/configs/published/cifar10_vp.py:sub_vp \
        --workdir=runs/cifar10_sub_vp

Published: 3.02 bits/dim and FID 3.16
by the probability-flow ODE, FID 2.61 by the SDE. The noise enters as 999 times the time of this SDE.
"""

from experiments.configs import base
from experiments.configs.published import use_preset
from scorekit.networks import SongUNet


def get_config(argument=""):
    base.check_argument(argument, "sub_vp")
    config = base.get_config()
    config.data.update(set="cifar10", augment="flip")
    base.unconditional(config)
    config.schedule.name = argument or "linear_vp"
    use_preset(config, SongUNet, "ddpmpp")
    config.preconditioning.noise.update(name="time", scale=999.0)
    config.loss.target.name = "eps"
    config.loss.weighting.name = "eps"
    config.loss.times.t_min = 1e-5
    config.training.update(steps=1_300_000, batch_size=128, learning_rate=2e-4)
    config.training.update(warmup_steps=5000, final_fraction=1.0)
    config.training.update(ema_decays=(0.9999,), log_every=100, sample_every=50_000, checkpoint_every=10_000)
    config.sampling.ema = "0.9999"
    config.sampling.solver.name = "ancestral"
    config.sampling.grid.name = "uniform"
    config.sampling.steps = 1000
    return config
