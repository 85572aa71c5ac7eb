"""Music as events, one after the other: a causal transformer of the pieces of rolls_transformer.py, given the key.

    python -m experiments.train --config=experiments/configs/music/events_transformer.py --workdir=runs/events

Five CPU minutes: 29.9 bits a second of held-out phrases (docs/music.md).
"""

from experiments.configs.music import rolls_transformer


def get_config():
    config = rolls_transformer.get_config()
    config.symbols.update(name="events", resolution=0.064, velocities=1, length=160)
    return config
