"""The full path, for tests: a tiny posterior of the two moons.

    python -m experiments.train --config=experiments/configs/posterior/smoke.py --workdir=runs/posterior_smoke

Seconds; the posterior is wide.
"""

from experiments.configs.posterior import two_moons


def get_config():
    config = two_moons.get_config()
    config.data.simulations = 2000
    config.network.update(features=16, blocks=1, encoder_blocks=1)
    config.training.update(steps=40, batch_size=64, warmup_steps=4, log_every=20, checkpoint_every=20)
    config.sampling.update(steps=4, batch_size=2000)
    config.evaluation.update(observations=50, samples=40, densities=4, compared=0)
    return config
