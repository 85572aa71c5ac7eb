"""The full path, for tests: a tiny transformer on 4 x 4 digits of 17 values.

    python -m experiments.train --config=experiments/configs/sequences/smoke.py --workdir=runs/sequences_smoke

Seconds; the images are noise.
"""

from experiments.configs import base


def get_config():
    config = base.get_config("sequence")
    config.data.image_size = 4
    config.network.depth = 1
    config.network.width = 16
    config.network.heads = 2
    config.training.steps = 6
    config.training.batch_size = 8
    config.training.warmup_steps = 2
    config.training.log_every = 2
    config.training.sample_every = 3
    config.training.checkpoint_every = 2
    config.sampling.batch_size = 20
    config.evaluation.num_samples = 40
    config.evaluation.bound_times = 2
    return config
