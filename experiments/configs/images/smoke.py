"""The full path, for tests: a tiny U-Net on the real digits.

    python -m experiments.train --config=experiments/configs/images/smoke.py --workdir=runs/smoke

Seconds; the images are noise.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.network.channels = 8
    config.training.steps = 6
    config.training.batch_size = 8
    config.training.warmup_steps = 2
    config.training.log_every = 2
    config.training.sample_every = 3
    config.training.checkpoint_every = 2
    config.sampling.steps = 2
    config.sampling.batch_size = 20
    config.evaluation.num_samples = 40
    config.evaluation.guidance_scales = (1.0, 2.0)
    config.evaluation.bound_times = 2
    return config
