"""Phrases at 4 kHz from themselves below 500 Hz, by a diffusion bridge that starts at the low band (I2SB).

    python -m experiments.train --config=experiments/configs/phrases/phrases_bridge.py --workdir=runs/phrases_bridge

Four CPU minutes: held-out sounds in 10 steps with a log-spectral distance of 14.6 dB, 17.3 by the conditional model of
``phrases_wide.py``, whose commands compare both (docs/audio.md).
"""

from experiments.configs.phrases import phrases_wide


def get_config():
    config = phrases_wide.get_config()
    config.schedule.name = "edm"  # with these fields a Brownian bridge
    config.schedule.sigma_min = 0.0
    config.schedule.sigma_max = 1.0
    config.schedule.rho = 0.5
    config.loss.coupling.name = "bridge"
    config.loss.target.name = "eps"
    config.loss.weighting.name = "eps"
    config.loss.map_dropout = 0.0
    config.guidance = ("conditional",)
    config.sampling.solver.name = "ancestral"
    config.sampling.grid.name = "uniform"
    config.sampling.steps = 10
    return config
