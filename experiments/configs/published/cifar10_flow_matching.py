r"""Unconditional CIFAR-10 by flow matching on straight paths: the first rectified flow of Liu et al. 2022, DDPM++.

    python -m experiments.train --config=experiments/configs/published/cifar10_flow_matching.py \
        --workdir=runs/cifar10_flow
    python -m experiments.evaluate --workdir=runs/cifar10_flow --config.evaluation.fid.weights=…

Not run here: no accelerator was at hand.

Published: "1-rectified flow" with an adaptive Runge-Kutta method of order 4 to 5, whose FID is in the paper
(https://arxiv.org/abs/2209.03003). 61,804,419 parameters; 61,805,827 here, of which the 1,408 of the classes are not
used. Device-hours: not stated by the authors.

Values: the config ``cifar10_rf_gaussian_ddpmpp`` and the defaults of CIFAR-10 of their repository RectifiedFlow.

Differences: time runs from data to noise here, and the network is given 999 times it, there 999 times one minus it;
sampling is by the classical Runge-Kutta method of order 4 with 32 equal steps, 128 evaluations; stratified times.
"""

from experiments.configs.published import cifar10_vp


def get_config():
    config = cifar10_vp.get_config()
    config.schedule.name = "rectified_flow"
    config.network.dropout = 0.15
    config.loss.target.name = "velocity"
    config.loss.weighting.name = "flow"
    config.loss.times.update(t_min=0.0, t_max=0.999)
    config.training.ema_decays = (0.999999,)
    config.sampling.ema = "0.999999"
    config.sampling.solver.name = "rk4"
    config.sampling.steps = 32
    return config
