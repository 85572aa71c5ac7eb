"""Music as events, by masked diffusion of 160 tokens: the pieces of rolls_masked.py, given the key.

    python -m experiments.train --config=experiments/configs/music/events_masked.py --workdir=runs/events_masked

Four CPU minutes: at most 125 bits a second of held-out phrases; it has learned little (docs/music.md).
"""

from experiments.configs.music import rolls_masked


def get_config():
    config = rolls_masked.get_config()
    config.symbols.update(name="events", resolution=0.064, velocities=1, length=160)
    config.network.patch = 1
    config.training.update(steps=400, batch_size=16)
    return config
