r"""Ten Gaussian parameters seen with Gaussian noise: the posterior is known, also given many observations.

python -m experiments.train --config=experiments/configs/posterior/gaussian_linear.py --workdir=runs/gaussian_linear

Four minutes on two cores, most of them the evaluation (docs/posteriors.md).
"""

from experiments.configs.posterior import two_moons


def get_config():
    config = two_moons.get_config()
    config.data.simulator = "gaussian_linear"
    config.training.steps = 1500
    config.evaluation.composed = (1, 10, 100)
    return config
