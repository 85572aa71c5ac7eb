"""Emoji of 64 x 64 pixels from a copy of 32 x 32 and their captions: the last stage of a cascade; 4,000 steps.

It is trained on random squares of 32 x 32 pixels, with the network of emoji_32 at the same cost of a step, and draws
full pictures.

python -m experiments.train --config=experiments/configs/text/emoji_64.py --workdir=runs/emoji_64
python -m experiments.text.draw --stages=runs/emoji_16,runs/emoji_32,runs/emoji_64 --caption="red heart" --style=noto
"""

from experiments.configs.text import emoji_32


def get_config():
    config = emoji_32.get_config()
    config.data.image_size = 64
    config.data.image_crop = 32
    config.noise_factor = 4.0

    config.sampling.batch_size = 50
    return config
