r"""Two moons: parameters in a square, whose posterior is two narrow crescents.

    python -m experiments.train --config=experiments/configs/posterior/two_moons.py --workdir=runs/two_moons

6 CPU minutes for 100,000 simulations, and 1 for samples given ten observations: a classifier tells samples from exact
ones with an accuracy of 0.51 (docs/posteriors.md).

``gaussian_linear``, ten Gaussian parameters seen with Gaussian noise, whose posterior is known:

    python -m experiments.train --config=experiments/configs/posterior/two_moons.py:gaussian_linear \
        --workdir=runs/gaussian_linear

Four CPU minutes, most of them the evaluation (docs/posteriors.md).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "gaussian_linear")
    config = base.get_config("posterior")
    config.data.update(simulator="two_moons", simulations=100_000)
    config.network.update(features=128, blocks=4, encoder_blocks=2)
    config.loss.times.update(mean=-1.2, std=1.6)
    config.schedule.update(log_snr_max=14.0, log_snr_min=-8.0)
    config.training.update(steps=6000, batch_size=1024, learning_rate=2e-3, final_fraction=0.0)
    config.training.update(log_every=200, sample_every=100_000, checkpoint_every=1000)
    if argument == "gaussian_linear":
        config.data.simulator = argument
        config.training.steps = 1500
    return config
