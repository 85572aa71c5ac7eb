"""A ring of eight Gaussians in the plane, whose density is known: seconds, and an exact answer beside every number.

python -m experiments.train --config=experiments/configs/points/mixture_2d.py --workdir=runs/mixture_2d
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "ring"
    config.network.name = "mlp"
    config.network.features = 64
    config.training.steps = 2000
    config.training.batch_size = 512
    config.training.sample_every = 1000
    config.training.checkpoint_every = 1000
    config.sampling.batch_size = 2000
    config.evaluation.num_samples = 4000
    return config
