"""A rectified flow of the digits of ``digits.py`` from noise that optimal transport pairs with them, in each class.

    python -m experiments.train --config=experiments/configs/images/coupled_digits.py --workdir=runs/coupled_digits

With --config.training.steps=800 --config.network.channels=16, 109 CPU seconds: a straightness of 0.056, of
independent pairs 0.108; an energy distance of -0.0000 in 8 Euler steps (docs/couplings.md).
"""

from experiments.configs.images import digits


def get_config():
    return coupled(digits.get_config())


def coupled(config):
    """A rectified flow of the data of a config from noise that optimal transport pairs with them."""
    config.schedule.name = "rectified_flow"
    config.preconditioning.noise.name = "clock"
    config.loss.target.name = "velocity"
    config.loss.weighting.name = "flow"
    config.loss.coupling.name = "optimal_transport"
    config.guidance = ("conditional",)
    config.sampling.solver.name = "euler"
    config.sampling.grid.name = "uniform"
    config.sampling.update(guidance_scale=1.0, steps=8)
    config.evaluation.update(guidance_scales=(1.0,), step_counts=(2, 4, 8))
    return config
