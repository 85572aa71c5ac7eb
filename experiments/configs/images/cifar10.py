"""Class-conditional CIFAR-10, 32 x 32 colour, through TFDS (downloaded on first use; needs the internet).

    python -m experiments.train --config=experiments/configs/images/cifar10.py --workdir=runs/cifar10

Meant for one GPU or TPU host. Not run here: no accelerator was at hand.
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.name = "cifar10"
    config.network.channels = 128
    config.network.blocks = 2
    config.network.multipliers = (1, 2, 2)
    config.network.attention_resolutions = (16, 8)
    config.network.heads = 4
    config.network.dtype = "bfloat16"
    config.training.steps = 200_000
    config.training.batch_size = 256
    config.training.learning_rate = 3e-4
    config.training.warmup_steps = 5000
    config.training.ema_decays = (0.999, 0.9999)
    config.training.log_every = 100
    config.training.sample_every = 10_000
    config.training.checkpoint_every = 10_000
    config.sampling.ema = "0.9999"
    config.sampling.steps = 40
    config.evaluation.num_samples = 10_000
    return config
