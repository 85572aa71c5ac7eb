"""Class-conditional mnist, 28 x 28 grey, through TFDS (downloaded on first use; needs the internet).

    python -m experiments.train --config=experiments/configs/images/mnist.py --workdir=runs/mnist

Meant for one GPU. Not run here: no accelerator was at hand.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "mnist"
    config.network.channels = 64
    config.network.blocks = 2
    config.network.multipliers = (1, 2, 2)
    config.network.attention_resolutions = (7,)
    config.network.heads = 4
    config.training.steps = 20_000
    config.training.learning_rate = 5e-4
    config.training.warmup_steps = 1000
    config.training.sample_every = 2000
    config.training.checkpoint_every = 2000
    config.evaluation.num_samples = 5000
    return config
