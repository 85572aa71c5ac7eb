"""Unconditional CIFAR-10 with the sub-VP SDE, whose likelihood is the better one: DDPM++ (continuous).

    python -m experiments.train --config=experiments/configs/published/cifar10_sub_vp.py --workdir=runs/cifar10_sub_vp
    python -m experiments.evaluate --workdir=runs/cifar10_sub_vp --bits_per_dim --config.evaluation.exact_examples=10000

Not run here: no accelerator was at hand.

Published: 3.02 bits/dim and FID 3.16 by the probability-flow ODE, FID 2.61 by the SDE (README of score_sde_pytorch;
Song et al. 2021, https://arxiv.org/abs/2011.13456). 61,804,419 parameters; 61,805,827 here, of which the 1,408 of the
classes are not used. Device-hours: not stated.

Values: as in ``cifar10_vp.py``; the noise enters as 999 times the time of this SDE.

Differences: as in ``cifar10_vp.py``.
"""

from experiments.configs.published import cifar10_vp


def get_config():
    config = cifar10_vp.get_config()
    config.schedule.name = "sub_vp"
    return config
