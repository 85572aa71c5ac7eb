"""The base of the cascade of emoji by a network of 84 million parameters, for one accelerator; 60,000 steps.

    python -m experiments.train --config=experiments/configs/text/emoji_16_gpu.py --workdir=runs/emoji_16_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.text import emoji_16


def get_config():
    return grown(emoji_16.get_config())


def grown(config):
    """A base or a decoder with a larger network and more training."""
    config.network.update(channels=192, multipliers=(1, 2, 3), blocks=2)
    config.network.update(attention_resolutions=(8, 4), dtype="bfloat16", attention="fused")
    return trained_longer(config)


def trained_longer(config):
    """Any stage with the training of an accelerator."""
    config.training.update(steps=60_000, batch_size=256, learning_rate=3e-4, warmup_steps=1000)
    config.training.update(ema_decays=(0.9995,), sample_every=10_000, checkpoint_every=5000)
    config.sampling.ema = "0.9995"
    config.evaluation.num_samples = 2000
    return config
