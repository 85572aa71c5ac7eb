"""The full path, for tests: a tiny U-Net on the real digits.

    python -m experiments.train --config=experiments/configs/images/smoke.py --workdir=runs/smoke

Seconds; the images are noise.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.network.channels = 8
    config.training.update(steps=6, batch_size=8, warmup_steps=2)
    config.training.update(log_every=2, sample_every=3, checkpoint_every=2)
    config.sampling.update(steps=2, batch_size=20)
    config.evaluation.update(num_samples=40, guidance_scales=(1.0, 2.0), bound_times=2)
    return config
