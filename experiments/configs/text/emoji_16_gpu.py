"""The base of the cascade of emoji by a network of 84 million parameters, for one accelerator; 60,000 steps.

    python -m experiments.train --config=experiments/configs/text/emoji_16_gpu.py --workdir=runs/emoji_16_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.text import emoji_16


def get_config():
    return grown(emoji_16.get_config())


def grown(config):
    """A base or a decoder with a larger network and more training."""
    config.network.channels = 192
    config.network.multipliers = (1, 2, 3)
    config.network.blocks = 2
    config.network.attention_resolutions = (8, 4)
    config.network.dtype = "bfloat16"
    return trained_longer(config)


def trained_longer(config):
    """Any stage with the training of an accelerator."""
    config.training.steps = 60_000
    config.training.batch_size = 256
    config.training.learning_rate = 3e-4
    config.training.warmup_steps = 1000
    config.training.ema_decays = (0.9995,)
    config.training.sample_every = 10_000
    config.training.checkpoint_every = 5000
    config.sampling.ema = "0.9995"
    config.evaluation.num_samples = 2000
    return config
