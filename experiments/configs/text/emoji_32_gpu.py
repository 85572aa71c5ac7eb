"""The second stage of the cascade of emoji by a larger network, for one accelerator; 60,000 steps.

    python -m experiments.train --config=experiments/configs/text/emoji_32_gpu.py --workdir=runs/emoji_32_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.text import emoji_32
from experiments.configs.text.emoji_16_gpu import trained_longer


def get_config():
    config = emoji_32.get_config()
    config.network.update(channels=96, blocks=2, dtype="bfloat16")
    return trained_longer(config)
