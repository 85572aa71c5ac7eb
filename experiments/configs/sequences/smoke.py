"""The full path, for tests: a tiny transformer on 4 x 4 digits of 17 values.

    python -m experiments.train --config=experiments/configs/sequences/smoke.py --workdir=runs/sequences_smoke

Seconds; the images are noise.
"""

from experiments.configs import base


def get_config():
    config = base.get_config("sequence")
    config.data.image_size = 4
    config.network.update(depth=1, width=16, heads=2)
    config.training.update(steps=6, batch_size=8, warmup_steps=2)
    config.training.update(log_every=2, sample_every=3, checkpoint_every=2)
    config.sampling.batch_size = 20
    config.evaluation.update(num_samples=40, bound_times=2)
    return config
